"""The bench's endpoint without a model, its line, and its watch over slates do what the figures take for granted."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, cast

import psutil
import pytest
from redis import Redis

from loadtests.bench import catalogue, clicks, freshness
from loadtests.bench.clicks import Browser, Run
from loadtests.bench.neighbours import Neighbours
from loadtests.bench.part import ROOT, BenchError
from loadtests.bench.stack import Stack, answers, free_port

GOLDEN = ROOT / "ml" / "tests" / "golden"
REQUEST = (GOLDEN / "request-v1.json").read_bytes()
DELAY_MS = 100


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack() as stack:
        yield stack


@pytest.fixture
def endpoint(stack: Stack) -> int:
    port = free_port()
    stack.python("canned", "loadtests/bench/canned.py", str(port), str(DELAY_MS)).wait_until(lambda: answers(port))
    return port


def asked(connection: HTTPConnection, body: bytes = REQUEST) -> dict[str, Any]:
    connection.request("POST", "/endpoints/aisle/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    return cast(dict[str, Any], json.load(answer))


def test_a_canned_answer_has_the_contracts_shape_and_the_products_of_the_benchs_shop(endpoint: int) -> None:
    golden = json.loads((GOLDEN / "response-v1.json").read_bytes())
    with closing(HTTPConnection("127.0.0.1", endpoint)) as connection:
        answer = asked(connection)
    assert answer.keys() == golden.keys()
    for query, one in zip(json.loads(REQUEST)["queries"], answer["answers"], strict=True):
        assert one.keys() == golden["answers"][0].keys()
        assert one["slate_id"] == query["slate_id"]
        assert {name: len(items) for name, items in one["slates"].items()} == {
            slate["name"]: slate["limit"] for slate in query["slates"]
        }
        for items in one["slates"].values():
            assert {frozenset(item) for item in items} == {frozenset({"product_id", "score", "because"})}
            ids = {int(item["product_id"]) for item in items}
            assert len(ids) == len(items)
            assert ids <= set(range(1_000_000, 1_000_000 + catalogue.PRODUCTS))


def test_a_canned_answer_comes_a_round_trip_later_however_its_question_was_cut(endpoint: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(REQUEST)
    question = head + REQUEST
    with closing(socket.create_connection(("127.0.0.1", endpoint), timeout=30)) as line:
        for cut in (10, len(head), len(question) - 1):  # one connection, several questions
            line.sendall(question[:cut])
            time.sleep(0.05)
            asked_at = time.monotonic()
            line.sendall(question[cut:])
            assert line.recv(12) == b"HTTP/1.1 200"
            assert time.monotonic() - asked_at >= DELAY_MS / 1000
            rest = line.recv(1 << 20)
            while not rest.endswith(b"]}"):
                rest += line.recv(1 << 20)


def behind_a_line(stack: Stack, serve: Callable[[socket.socket], None]) -> int:
    """The line's port; ``serve`` has the one connection that comes through it."""
    listening, port = socket.create_server(("127.0.0.1", 0)), free_port()

    def run() -> None:
        with closing(listening), closing(listening.accept()[0]) as connection:
            serve(connection)

    to = listening.getsockname()[1]
    part = stack.python("line", "loadtests/bench/line.py", str(port), str(to), str(DELAY_MS))
    threading.Thread(target=run, daemon=True).start()
    # Not by a connection of its own, which would be the one that comes through.
    part.wait_until(lambda: f":{port:04X}" in part_listens())
    return port


def part_listens() -> str:
    with open("/proc/net/tcp") as table:
        return table.read()


def received(connection: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    whole = b""
    while some := connection.recv(1 << 16):
        whole += some
    return whole


def test_a_line_passes_every_byte_on_in_order_and_not_before_its_round_trip(stack: Stack) -> None:
    sent = bytes(range(256)) * 4_000

    def echo(connection: socket.socket) -> None:
        while some := connection.recv(1 << 16):
            connection.sendall(some)

    port = behind_a_line(stack, echo)
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as line:
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as hand:
            hand.submit(line.sendall, sent)
            came = line.recv(1 << 16)
            assert time.monotonic() - begun >= DELAY_MS / 1000
            while len(came) < len(sent):
                came += line.recv(1 << 16)
    assert came == sent


def test_what_was_said_before_hanging_up_still_comes_through(stack: Stack) -> None:
    said = b"goodbye" * 50_000
    port = behind_a_line(stack, lambda connection: connection.sendall(said))
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as line:
        assert received(line) == said


def test_a_line_to_nobody_is_cut(stack: Stack) -> None:
    port = free_port()
    line = stack.python("line", "loadtests/bench/line.py", str(port), str(free_port()), str(DELAY_MS))
    line.wait_until(lambda: answers(port))
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(b"hello")
        assert received(connection) == b""


class Toy:
    """A browser whose event is in its slate ``takes`` seconds later; never if that is None."""

    port = 0

    def __init__(self, redis: Redis, shopper_id: int, takes: float | None) -> None:
        self.redis, self.shopper_id, self.takes, self.event = redis, shopper_id, takes, 0

    def view(self, connection: HTTPConnection, product_id: str) -> None:
        self.event += 1
        if self.takes is not None:
            threading.Timer(self.takes, self._write, [struct.pack("<qqq", 0, self.event, 0) + b"[]"]).start()

    def _write(self, slate: bytes) -> None:
        self.redis.set(f"{{aisle}}:slate:shopper:{self.shopper_id}", slate)


@pytest.fixture
def toys(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Browser]]]:
    monkeypatch.setattr(clicks, "SECONDS", 0.5)
    with Redis(port=stack.redis_port) as redis:
        redis.flushall()
        yield lambda *takes: [cast(Browser, Toy(redis, number, one)) for number, one in enumerate(takes)]


def test_every_event_counts_from_its_moment_until_a_slate_follows_it(
    stack: Stack, toys: Callable[..., list[Browser]]
) -> None:
    run = Run(stack.redis_port, ["p1"])
    run.make(toys(*[0.2] * 20))  # half as many as are under way at this rate: the rest wait for one, on their clock
    events = int(clicks.RATE * clicks.SECONDS)
    assert len(run.fresh) == len(run.posts) == events
    assert min(run.fresh) >= 0.2
    assert max(run.fresh) >= 0.4


def test_an_event_that_is_in_no_slate_is_lost_and_said_to_be(
    stack: Stack, toys: Callable[..., list[Browser]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clicks, "LOST", 0.5)
    run = Run(stack.redis_port, ["p1"])
    with pytest.raises(BenchError, match="events are in no slate"):
        run.make(toys(None, None, *[0.01] * 50))
    assert {0, 1} <= run._waiting.keys()


def measured(stack: Stack, late: float = 0.001, neighbours: float = 0.02) -> dict[str, float]:
    run = Run(0, [], fresh=[0.03] * 90 + [0.06] * 10, posts=[0.004] * 100, late=[late] * 100, neighbours=neighbours)
    return freshness.figures(stack, [run] * freshness.RUNS)


def test_figures_are_of_valid_runs() -> None:
    stack = Stack()
    figures = measured(stack)
    assert (figures["freshness_p50_ms"], figures["freshness_p95_ms"]) == (30.0, 60.0)
    assert not stack.invalid


@pytest.mark.parametrize(("late", "neighbours", "said"), [(0.02, 0.0, "woke 20 ms late"), (0.0, 1.2, "120% of a core")])
def test_a_machine_that_was_too_busy_costs_these_figures_and_is_named_in_one_line(
    late: float, neighbours: float, said: str
) -> None:
    stack = Stack()
    stack.median("refreshes_per_s", [3_000.0])
    assert measured(stack, late, neighbours).keys() == {"freshness_late_p95_ms"}
    assert stack.invalid.keys() == {"freshness_p50_ms", "freshness_p95_ms"}
    for why in stack.invalid.values():
        assert said in why
        assert "too busy in 5 of 5 runs" in why
        assert "\n" not in why
    assert stack.runs["refreshes_per_s"] == [3_000.0]


BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_programs_that_the_bench_did_not_start_are_neighbours() -> None:
    """One whose parent has died, and which so is nobody's here."""
    neighbours, begun = Neighbours(), time.monotonic()
    orphaned = subprocess.Popen(["sh", "-c", f'"{sys.executable}" -c "$0" & echo $!', BURN], stdout=subprocess.PIPE)
    orphan = int(orphaned.communicate()[0])  # once its output is closed, it has ended too
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).ppid() != os.getpid()
    assert neighbours.share() * (time.monotonic() - begun) >= 0.25


def test_what_the_bench_started_is_none(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    now = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: now)
    before = Neighbours._spent()
    stack.python("burner", "-c", BURN).finish()
    assert Neighbours._spent() <= before - 0.25
