"""Locust's users: shoppers with their think times, a stream of arrivals, and a probe of how fresh panels are.

python -m loadtests run average                                   # judged, with a report
locust -f loadtests/journeys.py --host http://127.0.0.1:8000      # the same users, with Locust's own pages
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
from locust import FastHttpUser, User, between, constant, events, task  # isort: skip

import json
import math
import random
import re
import sys
import time
from typing import Any

import gevent
from gevent.pool import Pool
from locust.exception import StopUser
from locust.runners import MasterRunner

from loadtests import addresses, arrivals
from loadtests.browser import TIMEOUT, Browser, connections
from loadtests.endpoint import Endpoint
from loadtests.population import Population
from loadtests.recording import Meter, Recording

SEARCHES = ("milk", "bread", "cheese", "pizza", "apples", "xyzzy")
KNOWN, VISITORS, OPTED_OUT = 100, 20, 10  # browsers that a stream's requests are drawn from
FRESH_WITHIN = 10.0  # seconds; a slate later than that failed the probe

DEFAULT_MIX = {"home": 4, "home, visitor": 2, "product": 4, "category": 2, "search": 1, "panel api": 4, "event": 3}


class Run:
    """What this process shares for one test: its options, the people, and what is recorded."""

    population: Population
    recording: Recording
    meter: Meter
    options: Any


run = Run()


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument("--steps", default="[[20, 30]]", help="open-loop arrivals: JSON [[requests/s, seconds], …]")
    parser.add_argument("--mix", default=json.dumps(DEFAULT_MIX), help="of the arrivals: JSON {path: weight}")
    parser.add_argument("--streams", type=int, default=1, help="arrival streams that share the rate, one a process")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds after signing in, not measured")
    parser.add_argument("--own-after", type=float, default=2.0, help="seconds after which a known shopper has a slate")
    parser.add_argument(
        "--allow-remote", default="", metavar="HOST", help="a host, not this machine, that you may load"
    )


@events.test_start.add_listener
def prepare(environment: Any, **_: Any) -> None:
    run.options = environment.parsed_options
    try:
        addresses.check(environment.host, run.options.allow_remote)
        if not isinstance(environment.runner, MasterRunner):
            run.population = Population.of(environment.host)
    except (addresses.NotAllowed, OSError, ValueError) as error:
        sys.exit(f"loadtests: {error}")
    seconds = sum(step[1] for step in json.loads(run.options.steps))
    run.recording, run.meter = Recording(seconds, own_after=run.options.own_after), Meter()


@events.request.add_listener
def record(**request: Any) -> None:
    run.recording.fire(**request)


@events.report_to_master.add_listener
def tell(client_id: str, data: dict[str, Any]) -> None:
    """A worker's news: what it has recorded since it last told."""
    if hasattr(run, "recording"):
        told = run.recording
        run.recording = Recording(told.seconds, told.begins, told.own_after)
        data["recording"] = told.shown() | {"cpu": {client_id: run.meter.share()}}


@events.worker_report.add_listener
def hear(client_id: str, data: dict[str, Any]) -> None:
    if "recording" in data:
        run.recording.merge(data["recording"])
        if math.isfinite(begins := data["recording"]["begins"]):  # near the others', for all let in as many
            run.recording.begins = begins


class Shopper(FastHttpUser):
    """Closed loop: looks, thinks, looks again."""

    abstract = True
    wait_time = between(0.5, 2.0)
    network_timeout = connection_timeout = TIMEOUT

    def on_start(self) -> None:
        self.chance = random.Random()
        self.browser = Browser(self.client, self.host or "")
        self.arrive()
        self.browser.page("/", "home, cold", panel=True)

    def arrive(self) -> None:
        self.browser.page("/", "first sight")

    @task(4)
    def come_home(self) -> None:
        self.browser.page("/", "home", panel=True)

    @task(6)
    def look(self) -> None:
        product_id = run.population.products.draw(self.chance)
        page = self.browser.page(f"/product/{product_id}/", "product")
        self.browser.report(product_id, "event")
        self.browser.poll(page)

    @task(3)
    def browse(self) -> None:
        home = self.browser.page("/", "home", panel=True)
        shelves = re.findall(r'href="(/department/[^"]+)"', home)
        if shelves:
            page = self.browser.page(self.chance.choice(shelves), "department")
            within = re.findall(r'href="(/department/[^"/]+/[^"/]+/)"', page)
            if within:
                self.browser.page(f"{self.chance.choice(within)}?sort=price&page=2", "category")

    @task(2)
    def search(self) -> None:
        self.browser.page(f"/search/?q={self.chance.choice(SEARCHES)}", "search")

    @task(1)
    def ask_the_api(self) -> None:
        self.browser.api("panel api")

    @task(1)
    def buy(self) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.browser.post("/cart/add/", {"product_id": run.population.products.draw(self.chance)}, "add to cart")
        page = self.browser.page("/checkout/", "checkout")
        key = re.search(r'name="key" value="([^"]+)"', page)
        if key and self.chance.random() < 0.5:
            shown = re.search(r'name="shown_cents" value="(\d+)"', page)
            order = {"key": key[1], "shown_cents": shown[1] if shown else "0", "name": "Load", "address": "Loopback 1"}
            self.browser.post("/checkout/", order, "order")


class Household(Shopper):
    """Known by a year of history: most of a grocer's visitors."""

    weight = 5

    def arrive(self) -> None:
        self.browser.sign_in(run.population.shoppers.draw(self.chance))


class Visitor(Shopper):
    """Nobody knows them, and they have not chosen."""

    weight = 3


class ConsentingVisitor(Shopper):
    """Nobody knows them yet: cold until their first click."""

    weight = 1

    def arrive(self) -> None:
        self.browser.choose("yes")


class OptedOut(Shopper):
    """Nothing is kept of them and nothing personal is shown."""

    weight = 1

    def arrive(self) -> None:
        self.browser.choose("no")


class Arrivals(User):
    """Open loop: one stream of requests by people who do not wait for each other.

    Streams that are added up are such a stream again (Poisson), so each process may run one with its share of the rate.
    """

    fixed_count = 1
    wait_time = constant(0)

    def on_start(self) -> None:
        self.chance = random.Random()
        self.mix: dict[str, float] = json.loads(run.options.mix)
        if "invocation" in self.mix:
            self.endpoint = Endpoint(run.population, self.environment.events.request, run.options.allow_remote)
        if set(self.mix) != {"invocation"}:
            self.let_in()
        run.recording.begins = time.time() + run.options.warm_up
        run.meter = Meter()

    def let_in(self) -> None:
        """The browsers, before anything is measured."""
        pool, host = connections(), self.host or ""
        self.known = [Browser.of(host, self.environment.events.request, pool) for _ in range(KNOWN)]
        self.visitors = [Browser.of(host, self.environment.events.request, pool) for _ in range(VISITORS)]
        self.opted_out = [Browser.of(host, self.environment.events.request, pool) for _ in range(OPTED_OUT)]
        hands = Pool(4)
        hands.map(self.come_in, self.known)
        hands.map(lambda browser: browser.choose("no"), self.opted_out)
        self.shelf = re.findall(r'href="(/department/[^"/]+/)"', self.visitors[0].page("/", "first sight"))

    def come_in(self, browser: Browser) -> None:
        browser.sign_in(run.population.shoppers.draw(self.chance))
        browser.api("first sight")  # their slates are asked for now, for a page that is measured finds them warm

    @task
    def stream(self) -> None:
        """Arrivals at the first step's rate while warming up, then step by step."""
        steps = [(rate / run.options.streams, seconds) for rate, seconds in json.loads(run.options.steps)]
        schedule = arrivals.stepped([(steps[0][0], run.options.warm_up), *steps], self.chance)
        arrivals.play(schedule, self.begin, self.late)
        raise StopUser

    def late(self, seconds: float) -> None:
        if run.recording.covers(time.time()):
            run.recording.late.record(seconds)

    def begin(self, due: float) -> None:
        path = self.chance.choices(list(self.mix), list(self.mix.values()))[0]
        if path == "invocation":
            self.endpoint.invoke(self.chance, path, due=due)
            return
        browser = self.chance.choice(self.known)
        match path:
            case "home":
                browser.page("/", path, panel=True, due=due)
            case "home, visitor":
                self.chance.choice(self.visitors).page("/", path, panel=True, due=due)
            case "home, opted out":
                self.chance.choice(self.opted_out).page("/", path, panel=True, due=due)
            case "product":
                browser.page(f"/product/{run.population.products.draw(self.chance)}/", path, due=due)
            case "category":
                browser.page(self.chance.choice(self.shelf), path, due=due)
            case "search":
                browser.page(f"/search/?q={self.chance.choice(SEARCHES)}", path, due=due)
            case "panel api":
                browser.api(path, due=due)
            case "event":
                browser.report(run.population.products.draw(self.chance), path, due=due)
            case _:
                raise ValueError(f"there is no path {path!r}")


class Probe(FastHttpUser):
    """How long after a click the panel is new, on the client's clock: a view, then the API until its slate differs."""

    fixed_count = 1
    wait_time = constant(1)
    network_timeout = connection_timeout = TIMEOUT

    def on_start(self) -> None:
        self.chance = random.Random()
        self.browser = Browser(self.client, self.host or "")
        self.browser.choose("yes")

    @task
    def probe(self) -> None:
        before = self.browser.api("probe").get("slate_id")
        begun, clock = time.time(), time.perf_counter()
        if not self.browser.report(run.population.products.draw(self.chance), "probe"):
            return
        failed = None
        while self.browser.api("probe").get("slate_id", before) == before:
            if time.perf_counter() - clock > FRESH_WITHIN:
                failed = TimeoutError(f"no new slate in {FRESH_WITHIN:.0f} s")
                break
            gevent.sleep(0.005)
        self.environment.events.request.fire(
            request_type="PROBE", name="freshness", response_time=(time.perf_counter() - clock) * 1e3,
            response_length=0, response=None, context={}, exception=failed, start_time=begun, url=self.host,
        )  # fmt: skip
