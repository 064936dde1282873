"""The smallest HTTP client that keeps connections: closed loop for CPU per request, open loop for latency.

Written on bare sockets because it shares its core with Redis, and a generator that is late makes a server look slow.
In the open loop, requests have their intended moments (a Poisson process, or an even pace) and latency counts from
there, so that a slow answer does not excuse the requests behind it.
"""

import asyncio
import gc
import itertools
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from selectors import SelectSelector

from loadtests.bench.part import BenchError

MOST_LATE = 0.005  # seconds of the generator's own lateness (p99) past which a run says nothing about the server
WARM_UP = 1.0  # seconds of the open loop whose requests are not counted
CONNECTIONS = 64  # of the open loop: more requests than these at once wait, and their wait counts


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Seconds from the intended start, sorted, and how late the generator itself was at its 99th percentile."""

    latencies: Sequence[float]
    lateness: float

    @property
    def valid(self) -> bool:
        return self.lateness <= MOST_LATE

    def percentile(self, share: float) -> float:
        return percentile(self.latencies, share)


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def get(path: str, cookie: str = "") -> bytes:
    """The bytes of a request."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: */*"] + ([f"Cookie: {cookie}"] if cookie else [])
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection(asyncio.Protocol):
    """One request at a time; the answer's end is found by its Content-Length."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[None] | None = None
        self._head = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes) -> "asyncio.Future[None]":
        """Done when the whole answer is there; fails with BenchError unless it is a 200."""
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(head.decode(errors="replace"))
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._missing = int(length) - len(body)
            self._head = b""
        if not self._missing and self._answer and not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the server closed the connection: {error}")

    def close(self) -> None:
        self._transport.close()

    def _fail(self, why: str) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(BenchError(why))


def closed_loop(port: int, requests: Sequence[bytes], seconds: float, connections: int = 8) -> int:
    """How many were answered, each connection asking again at once."""
    return asyncio.run(_closed_loop(port, requests, seconds, connections))


def moments(rate: float, seconds: float, seed: int, *, even: bool = False) -> list[float]:
    """Intended starts of a run with its warm-up, from the first: the ``seed``'s Poisson process, or ``even`` intervals.

    People come at random; the constant arrival rate of wrk2, k6 and vegeta is the even pace, under which a server that
    is fast enough has no queue.
    """
    draw, at, found = random.Random(seed), 0.0, list[float]()
    while at < WARM_UP + seconds:
        found.append(at)
        at += 1 / rate if even else draw.expovariate(rate)
    return found


def open_loop(port: int, requests: Sequence[bytes], schedule: Sequence[float]) -> Arrivals:
    """A request at each of the ``moments``; those of the warm-up are not counted."""
    with _undisturbed(), asyncio.Runner(loop_factory=_punctual) as runner:
        return runner.run(_open_loop(port, requests, schedule))


async def _closed_loop(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> int:
    turns = itertools.cycle(requests)
    end = time.perf_counter() + seconds

    async def ask(connection: Connection) -> int:
        answered = 0
        while time.perf_counter() < end:
            await connection.send(next(turns))
            answered += 1
        connection.close()
        return answered

    return sum(await asyncio.gather(*map(ask, await _connect(port, connections))))


async def _open_loop(port: int, requests: Sequence[bytes], schedule: Sequence[float]) -> Arrivals:
    loop = asyncio.get_running_loop()
    turns = itertools.cycle(requests)
    idle = deque(await _connect(port, CONNECTIONS))
    waiting: deque[float] = deque()
    latencies: list[float] = []
    lateness: list[float] = []
    failed: list[BaseException] = []
    start = loop.time() + 0.05

    def send(connection: Connection, moment: float) -> None:
        answer = connection.send(next(turns))
        answer.add_done_callback(lambda answer: done(connection, moment, answer))

    def done(connection: Connection, moment: float, answer: "asyncio.Future[None]") -> None:
        if error := answer.exception():
            failed.append(error)
        elif moment >= WARM_UP:
            latencies.append(loop.time() - start - moment)
        if waiting:
            send(connection, waiting.popleft())
        else:
            idle.append(connection)

    for moment in schedule:
        await asyncio.sleep(start + moment - loop.time())
        lateness.append(max(0.0, loop.time() - start - moment))
        if idle:
            send(idle.pop(), moment)
        else:
            waiting.append(moment)
        if failed:
            break
    while len(idle) < CONNECTIONS and not failed:
        await asyncio.sleep(0.01)
    for connection in idle:
        connection.close()
    if failed:
        raise failed[0]
    return Arrivals(sorted(latencies), sorted(lateness)[int(len(lateness) * 0.99)])


async def _connect(port: int, many: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(many)]


def _punctual() -> asyncio.AbstractEventLoop:
    """A loop that wakes at microseconds. Epoll counts in milliseconds: arrivals came late, and several at once."""
    return asyncio.SelectorEventLoop(SelectSelector())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """By this program's own garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
