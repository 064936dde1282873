"""Breaking one part after the other under load: what shoppers saw of it, what was lost, how long it took to recover.

In each case somebody clicks while the part is broken. The case is over when that click has become a new slate, which
nobody asked for again: so recovery means that nothing had to be repeated, not just that processes run.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
from locust.event import Events  # isort: skip

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
from redis import Redis

from loadtests import arrivals, plan
from loadtests.browser import Browser, connections
from loadtests.observed import NEED_NO_DATABASE, Observed, Seen
from loadtests.population import Population
from loadtests.stack import Stack

SHOPPERS = 30
STRANGERS = 0.3  # of those who look at the home page and at a category: people without a session
CALM = 1.0  # seconds; a page that takes longer although nothing is broken shows a machine that is too busy
MIX = {"home": 5, "product": 3, "category": 2, "panel api": 3, "event": 4}
NOTHING: Callable[[Stack], object] = lambda stack: None  # noqa: E731


class NotCalm(Exception):
    """The shop was not well even before a fault."""


@dataclass(frozen=True)
class Case:
    """``begin`` breaks something, ``end`` is what an operator or an init system does about it."""

    name: str
    begin: Callable[[Stack], object]
    end: Callable[[Stack], object] = NOTHING
    hold: float | None = None  # seconds between them; None is the plan's
    may_refuse: bool = False  # pages that need the database may answer 503


def afflict(**faults: Any) -> Callable[[Stack], object]:
    return lambda stack: stack.afflict(**faults)


def kill(part: str) -> Callable[[Stack], object]:
    return lambda stack: stack.parts[part].kill()


def start(part: str) -> Callable[[Stack], object]:
    return lambda stack: stack.parts[part].start()


def flush(stack: Stack) -> None:
    Redis.from_url(stack.env["REDIS_URL"]).flushall()


def kill_mid_drain(stack: Stack) -> None:
    """While its call to the slow endpoint is under way; then a new one comes, to a line as it should be."""
    gevent.sleep(0.7)
    stack.parts["worker"].kill()
    stack.afflict()
    stack.parts["worker"].start()


CASES = (
    Case("endpoint dead: connections are cut", afflict(outage="reset"), afflict()),
    Case("endpoint silent: calls are never answered", afflict(outage="silent"), afflict()),
    Case("endpoint slow: 2.5 s a call", afflict(round_trip_ms=2_500), afflict()),
    Case("endpoint throttling every call", afflict(throttle_rate=1), afflict()),
    Case("endpoint erring: half 503, half ModelError", afflict(error_rate=0.5, model_error_rate=0.5), afflict()),
    Case("endpoint answering nonsense", afflict(nonsense_rate=1), afflict()),
    Case("Redis (slates) killed", kill("redis"), start("redis")),
    Case("Redis (slates) flushed", flush, hold=1),
    Case("worker killed in mid-drain", afflict(round_trip_ms=1_500), kill_mid_drain, hold=1),
    Case("broker killed", kill("broker"), start("broker")),
    Case("model replaced by a newly trained one", lambda stack: stack.deploy(), hold=1),
)  # fmt: skip
POSTGRES = Case(
    "PostgreSQL stopped, and started again", lambda stack: stack.parts["postgres"].stop(how=signal.SIGINT),
    start("postgres"), may_refuse=True,
)  # fmt: skip


class Load:
    """Shoppers' requests, open loop, all the time; every one is remembered."""

    def __init__(self, stack: Stack, rate: float) -> None:
        self.seen: list[Seen] = []
        self._chance = random.Random(7)
        self._rate = rate
        self.host = stack.host
        self.population = Population.of(stack.host)
        self._events = Events()  # type: ignore[no-untyped-call]
        self._events.request.add_listener(self._see)  # type: ignore[no-untyped-call]
        self._pool = connections()
        self.stranger = Browser.of(self.host, self._events.request, self._pool)
        self.browsers = [self.sign_in(shopper) for shopper in self.population.shoppers.names[:SHOPPERS]]

    def sign_in(self, shopper: str) -> Browser:
        browser = Browser.of(self.host, self._events.request, self._pool)
        browser.sign_in(shopper)
        browser.api("first sight")
        return browser

    def _see(
        self, name: str, response_time: float, exception: object = None, start_time: float = 0.0,
        context: dict[str, Any] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        if name in MIX:
            source = (context or {}).get("source")
            panel = source != "none" if source and name in ("home", "panel api") and not exception else None
            panel = False if "the panel is missing" in str(exception) else panel
            failure = str(exception) if exception and "the panel" not in str(exception) else ""
            self.seen.append(Seen(name, start_time, start_time + response_time / 1e3, failure, panel))

    @contextmanager
    def running(self) -> Iterator[None]:
        schedule = arrivals.poisson(self._rate, 24 * 3600, self._chance)
        greenlet = gevent.spawn(arrivals.play, schedule, self._begin, lambda late: None)
        try:
            yield
        finally:
            greenlet.kill()

    def _begin(self, due: float) -> None:
        path = self._chance.choices(list(MIX), list(MIX.values()))[0]
        browser = self._chance.choice(self.browsers)
        product = self.population.products.draw(self._chance)
        if path in NEED_NO_DATABASE and self._chance.random() < STRANGERS:
            browser = self.stranger
        match path:
            case "home":
                browser.page("/", path, panel=True, due=due)
            case "product":
                browser.page(f"/product/{product}/", path, due=due)
            case "category":
                browser.page("/department/department-1/", path, due=due)
            case "panel api":
                browser.api(path, due=due)
            case "event":
                browser.report(product, path, due=due)


def run(stack: Stack, promised: plan.Faults, tell: Callable[[Observed], None]) -> list[Observed]:
    """Every case, one after the other, under load."""
    load = Load(stack, promised.rate)
    victim = load.sign_in(load.population.shoppers.names[SHOPPERS])
    found = []
    with load.running():
        for case in (*CASES, *((POSTGRES,) if stack.postgres else ())):
            found.append(_suffer(stack, case, load, victim, promised))
            tell(found[-1])
    return found


def _suffer(stack: Stack, case: Case, load: Load, victim: Browser, promised: plan.Faults) -> Observed:
    observed = Observed(case.name)
    _await_calm(load, promised)
    before, begun = _fresh_slate(victim, promised.recover), time.time()
    case.begin(stack)
    hold = promised.hold if case.hold is None else case.hold
    gevent.sleep(hold / 2)
    clicked = victim.report(load.population.products.names[0], "the click")
    gevent.sleep(hold / 2)
    case.end(stack)
    mended = time.time()
    while time.time() < mended + promised.recover:
        clicked = clicked or victim.report(load.population.products.names[0], "the click")
        if clicked and victim.api("probe").get("source") == "fresh" and _slate(victim) != before:
            observed.recovery = time.time() - mended
            break
        gevent.sleep(0.1)
    gevent.sleep(1)  # for those still under way
    observed.count([seen for seen in load.seen if seen.ended >= begun], case.may_refuse)
    load.seen.clear()
    _find_events(observed, [*load.browsers, victim])
    return observed


def _await_calm(load: Load, promised: plan.Faults) -> None:
    """Until for some seconds all went well. Raises NotCalm: what is slow before a fault proves nothing about it."""
    deadline = time.time() + promised.recover
    while time.time() < deadline:
        load.seen.clear()
        gevent.sleep(promised.settle)
        if load.seen and all(not one.failure and one.ended - one.begun < CALM for one in load.seen):
            return
    raise NotCalm(f"pages took more than {CALM:g} s or failed before anything was broken: is this machine busy?")


def _slate(browser: Browser) -> str:
    return str(browser.api("probe").get("slate_id", ""))


def _fresh_slate(browser: Browser, patience: float) -> str:
    """The slate that is shown before anything is broken."""
    deadline = time.time() + patience
    while time.time() < deadline and browser.api("probe").get("source") != "fresh":
        gevent.sleep(0.2)
    return _slate(browser)


def _find_events(observed: Observed, browsers: Iterable[Browser]) -> None:
    """Look for every event that was answered 2xx in its shopper's own export of what the shop remembers."""
    for browser in browsers:
        reported, browser.reported = browser.reported, []
        kept = _kept(browser)
        observed.events += len(reported)
        observed.lost += sum(kept[key] == 0 for key in reported)
        observed.twice += sum(kept[key] > 1 for key in reported)


def _kept(browser: Browser) -> Counter[str]:
    exported = json.loads(browser.page("/privacy/export/", "export") or "{}")
    return Counter(event["key"] for event in (exported.get("remembered") or {}).get("events", ()))
