"""How soon what a shopper does is in the shopper's slates, on the clock of the client who did it.

Views are posted to ``/api/events`` at random moments (a Poisson process, open loop: a late post counts from the moment
that it was meant for) by shoppers who are signed in, and their slates are watched in Redis until they follow a newer
event. The model is a real one, trained on the bench's shop, with a line of ROUND_TRIP_MS before it.
"""

import http.client
import json
import random
import re
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path

from redis import Redis

from loadtests.bench import catalogue
from loadtests.bench.endpoint import healthy
from loadtests.bench.part import BenchError
from loadtests.bench.stack import Stack, answers, free_port

ROUND_TRIP_MS = 20
RUNS, SECONDS, RATE = 5, 8.0, 200
SHOPPERS = 400  # each does something every two seconds: the shop's limit for one shopper is as much
SENDERS = 12
LATE = 5.0  # an event without a slate for so long is a failure
METRIC = re.compile(rb"^aisle_(queue_wait|invocation|write)_seconds_(sum|count) ([\d.e+-]+)$", re.MULTILINE)


def measure(stack: Stack) -> dict[str, float]:
    shop = stack.shop
    endpoint = line(stack, served(stack, trained(stack)))
    stack.worker(under_test=True, env={"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{endpoint}"})
    _, port = stack.web()
    stack.say(f"signing {SHOPPERS} shoppers in")
    first = catalogue.HOUSEHOLDS + 1
    browsers = [Browser(port, n, shop.shoppers[n - 1]) for n in range(first, first + SHOPPERS)]
    runs: list[Run] = []
    before: dict[str, float] = {}
    for number in range(RUNS + 1):
        stack.say(f"{RATE} events a second, run {number} of {RUNS}")
        run = Run(stack.redis_port, shop.product_ids)
        run.make(browsers)
        if number:  # the first one warms up
            runs.append(run)
        else:
            before = told(port)
    steps = {name: value - before[name] for name, value in told(port).items()}
    return {
        "freshness_p50_ms": stack.median("freshness_p50_ms", [percentile(run.fresh, 0.5) for run in runs]),
        "freshness_p95_ms": stack.median("freshness_p95_ms", [percentile(run.fresh, 0.95) for run in runs]),
        "freshness_post_p50_ms": stack.median("freshness_post_p50_ms", [percentile(run.posts, 0.5) for run in runs]),
        "freshness_late_p95_ms": stack.median("freshness_late_p95_ms", [percentile(run.late, 0.95) for run in runs]),
        **{
            f"freshness_{step}_mean_ms": 1000 * steps[f"{step}_sum"] / steps[f"{step}_count"]
            for step in ("queue_wait", "invocation", "write")
        },
    }


def trained(stack: Stack) -> Path:
    """The folder of a model that was trained on the shop."""
    # Here: only who measures this needs it.
    import pyarrow as pa
    from pyarrow import csv, parquet

    stack.say("training a model")
    export, base = stack.folder / "export", stack.folder / "model-base"
    types = dict.fromkeys(
        ("shopper", "basket", "product_id", "kind", "name", "department", "category", "type", "brand", "size"),
        pa.string(),
    ) | {"quantity": pa.int64(), "time": pa.timestamp("us", tz="UTC"), "price": pa.float64()}
    for table in ("events", "products"):
        (export / table).mkdir(parents=True)
        rows = csv.read_csv(stack.folder / f"{table}.csv", convert_options=csv.ConvertOptions(column_types=types))
        columns = [name for name in rows.column_names if name != "stock"]
        parquet.write_table(rows.select(columns), export / table / "part-00000.parquet")
    (export / "_SUCCESS").write_text("{}")
    stack.python(
        "train", "-m", "ml", "train", "--export", str(export), "--output", str(base), "--set", "candidates=30"
    ).finish()
    return base


def served(stack: Stack, base: Path) -> int:
    """The port of the model's server, warm."""
    port = free_port()
    env = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    part = stack.python("endpoint", "-m", "ml", "serve", env=env)
    part.wait_until(lambda: healthy(port))
    return port


def line(stack: Stack, to_port: int) -> int:
    port = free_port()
    part = stack.python("line", "loadtests/bench/line.py", str(port), str(to_port), str(ROUND_TRIP_MS))
    part.wait_until(lambda: answers(port))
    return port


def told(port: int) -> dict[str, float]:
    """Sums and counts of the steps' histograms, once every process has had time to carry its own."""
    time.sleep(2.5)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read()
    connection.close()
    return {f"{step.decode()}_{what.decode()}": float(value) for step, what, value in METRIC.findall(text)}


def percentile(values: list[float], share: float) -> float:
    """In milliseconds, of seconds."""
    return sorted(values)[int(len(values) * share)] * 1000


class Browser:
    """A shopper who is signed in; ``shopper_id`` is recommender's."""

    def __init__(self, port: int, shopper_id: int, name: str) -> None:
        self.shopper_id = shopper_id
        self.cookies: SimpleCookie = SimpleCookie()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        page = self._ask(connection, "GET", "/account/sign-in/")
        token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)
        if not token:
            raise BenchError("the page of signing in has no form")
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1].decode(), "shopper": name})
        self._ask(connection, "POST", "/demo/sign-in", form, "application/x-www-form-urlencoded")
        connection.close()
        if "sessionid" not in self.cookies:
            raise BenchError(f"shopper {name} could not sign in")
        self.port = port

    def view(self, connection: http.client.HTTPConnection, product_id: str) -> None:
        """Raises BenchError unless the event is kept."""
        report = json.dumps({"events": [{"kind": "view", "product_id": product_id}]})
        answer = self._ask(connection, "POST", "/api/events", report, "application/json")
        if b'"accepted":1' not in answer:
            raise BenchError(f"an event was not kept: {answer[:200]!r}")

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str = "", kind: str = ""
    ) -> bytes:
        headers = {"Cookie": "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())}
        if body:
            token = self.cookies["csrftoken"].value
            headers |= {"Content-Type": kind, "X-CSRFToken": token, "Referer": "http://127.0.0.1/"}
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self.cookies.load(cookie)
        return answer.read()


@dataclass
class Run:
    """Seconds of each event until it is seen, of each post, and by which a post began after its moment."""

    redis_port: int
    product_ids: list[str]
    fresh: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def make(self, browsers: list[Browser]) -> None:
        self._waiting: dict[int, float] = {}  # shopper_id → the moment of an event that is not yet seen
        self._seen: dict[int, int] = {}
        self._sent = threading.Event()
        watcher = threading.Thread(target=self._watch, args=([one.shopper_id for one in browsers],))
        watcher.start()
        moments = self._moments(browsers)
        lock = threading.Lock()

        def send() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", browsers[0].port, timeout=30)
            draw = random.Random()
            while True:
                with lock:
                    due = next(moments, None)
                if due is None:
                    connection.close()
                    return
                moment, browser = due
                time.sleep(max(0.0, moment - time.perf_counter()))
                began = time.perf_counter()
                self._waiting[browser.shopper_id] = moment
                browser.view(connection, draw.choice(self.product_ids))
                self.posts.append(time.perf_counter() - began)
                self.late.append(began - moment)

        try:
            with ThreadPoolExecutor(SENDERS) as pool:
                for sender in [pool.submit(send) for _ in range(SENDERS)]:
                    sender.result()
        finally:
            self._sent.set()
            watcher.join()
        if self._waiting:
            raise BenchError(f"{len(self._waiting)} events were in no slate after {LATE:.0f} s")

    def _moments(self, browsers: list[Browser]) -> Iterator[tuple[float, Browser]]:
        draw, moment = random.Random(7), time.perf_counter() + 0.2
        for number in range(int(RATE * SECONDS)):
            yield moment, browsers[number % len(browsers)]
            moment += draw.expovariate(RATE)

    def _watch(self, shopper_ids: list[int]) -> None:
        """See for whom a slate follows a newer event than before: the second number of its head."""
        last = 0.0
        with Redis(port=self.redis_port) as redis:
            self._seen = dict(zip(shopper_ids, self._events(redis, shopper_ids), strict=True))
            while not self._sent.is_set() or (self._waiting and time.perf_counter() < last + LATE):
                last = last if self._sent.is_set() else time.perf_counter()
                waiting = list(self._waiting)
                now_at = self._events(redis, waiting) if waiting else []
                now = time.perf_counter()
                for shopper_id, event in zip(waiting, now_at, strict=True):
                    if event > self._seen[shopper_id]:
                        self._seen[shopper_id] = event
                        self.fresh.append(now - self._waiting.pop(shopper_id))
                time.sleep(0.001)

    def _events(self, redis: "Redis", shopper_ids: list[int]) -> list[int]:
        pipe = redis.pipeline(transaction=False)
        for shopper_id in shopper_ids:
            pipe.getrange(f"{{aisle}}:slate:shopper:{shopper_id}", 8, 15)
        return [struct.unpack("<q", held)[0] if held else -1 for held in pipe.execute()]
