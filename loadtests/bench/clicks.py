"""Shoppers who look at products, open loop, and a watch over their slates until these follow what they did."""

import http.client
import json
import random
import re
import struct
import threading
import time
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from queue import Empty, SimpleQueue

from redis import Redis

from loadtests.bench.neighbours import MOST, Neighbours
from loadtests.bench.part import BenchError

SECONDS, RATE = 5.0, 200  # of a run, and events a second
SENDERS = 32  # at once; an event for which none is free waits on its clock
MOST_LATE = 0.005  # seconds by which the bench itself may wake too late (p95) in a run that counts
# An event without a slate for so long is lost: whoever backs off from an endpoint comes back sooner.
LOST = 60.0


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


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
    """Seconds of each event until it is seen, of each post, and by which the bench itself was late; the share of a core
    that other programs took."""

    redis_port: int
    product_ids: list[str]
    fresh: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    neighbours: float = 0.0

    @property
    def late_p95(self) -> float:
        return percentile(self.late, 0.95) if self.late else 0.0

    @property
    def valid(self) -> bool:
        return self.late_p95 <= MOST_LATE and self.neighbours <= MOST

    def make(self, browsers: Sequence[Browser]) -> None:
        """Raises BenchError if events are lost."""
        # One event of a shopper at a time, so that a newer slate can only be that event's.
        self._idle: SimpleQueue[Browser] = SimpleQueue()
        for browser in browsers:
            self._idle.put(browser)
        self._waiting: dict[int, tuple[float, Browser]] = {}  # by shopper_id, the moment of an event not yet seen
        self._sent, neighbours = threading.Event(), Neighbours()
        with Redis(port=self.redis_port) as redis:
            self._seen = dict(zip((ids := [one.shopper_id for one in browsers]), self._events(redis, ids), strict=True))
            watcher = threading.Thread(target=self._watch, args=(redis,))
            watcher.start()
            moments = self._moments()
            try:
                with ThreadPoolExecutor(SENDERS) as pool:
                    for sender in [pool.submit(self._send, moments, browsers[0].port) for _ in range(SENDERS)]:
                        sender.result()
            finally:
                self._sent.set()
                watcher.join()
        self.neighbours = neighbours.share()
        if self._waiting:
            raise BenchError(f"{len(self._waiting)} events are in no slate after {LOST:.0f} s: they are lost")

    def _moments(self) -> "SimpleQueue[float]":
        draw, moment, moments = random.Random(7), time.perf_counter() + 0.2, SimpleQueue[float]()
        for _ in range(int(RATE * SECONDS)):
            moments.put(moment)
            moment += draw.expovariate(RATE)
        return moments

    def _send(self, moments: "SimpleQueue[float]", port: int) -> None:
        """Events at their moments, until there are no more."""
        draw = random.Random()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection, suppress(Empty):
            while True:
                moment = moments.get_nowait()
                if (early := moment - time.perf_counter()) > 0:  # else the shop kept all senders busy
                    time.sleep(early)
                    self.late.append(time.perf_counter() - moment)
                browser = self._idle.get(timeout=LOST)
                began = time.perf_counter()
                self._waiting[browser.shopper_id] = moment, browser
                browser.view(connection, draw.choice(self.product_ids))
                self.posts.append(time.perf_counter() - began)

    def _watch(self, redis: "Redis") -> None:
        """See for whom a slate follows a newer event than before."""
        last = time.perf_counter()
        while not self._sent.is_set() or (self._waiting and time.perf_counter() < last + LOST):
            last = last if self._sent.is_set() else time.perf_counter()
            waiting = list(self._waiting)
            now_at = self._events(redis, waiting) if waiting else []
            now = time.perf_counter()
            for shopper_id, event in zip(waiting, now_at, strict=True):
                if event > self._seen[shopper_id]:
                    self._seen[shopper_id] = event
                    moment, browser = self._waiting.pop(shopper_id)
                    self.fresh.append(now - moment)
                    self._idle.put(browser)
            time.sleep(0.001)

    def _events(self, redis: "Redis", shopper_ids: list[int]) -> list[int]:
        """The newest event that each shopper's slate follows: the second number of its head."""
        pipe = redis.pipeline(transaction=False)
        for shopper_id in shopper_ids:
            pipe.getrange(f"{{aisle}}:slate:shopper:{shopper_id}", 8, 15)
        return [struct.unpack("<q", held)[0] if held else -1 for held in pipe.execute()]
