"""Arrivals keep to their schedule, and a server that stalls cannot hide it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from loadtests.histogram import Histogram
from loadtests.recording import Recording

RATE, SECONDS, STALL = 50, 2.0, 1.0

DRAWN = """
import json, random, sys
from loadtests import arrivals
chance = random.Random(7)
print(json.dumps({
    "poisson": list(arrivals.poisson(200, 50, chance)),
    "constant": list(arrivals.constant(4, 2)),
    "stepped": list(arrivals.stepped([(100, 10), (0, 10), (300, 10)], chance)),
}))
"""

BUSY = """
import json, time
from loadtests import arrivals
from loadtests.histogram import Histogram
late = Histogram()
def burn(due):
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end: pass
arrivals.play(arrivals.constant(100, 0.3), burn, late.record)
print(json.dumps(late.shown()))
"""


class Stalling(BaseHTTPRequestHandler):
    """Answers at once, but half a second after a path's first request it keeps everybody waiting for a while."""

    protocol_version = "HTTP/1.1"
    began: ClassVar[dict[str, float]] = {}

    def do_GET(self) -> None:
        stalled = self.began.setdefault(self.path, time.monotonic()) + 0.5
        if stalled <= time.monotonic() < stalled + STALL:
            time.sleep(stalled + STALL - time.monotonic())
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 200  # a stall fills it
    daemon_threads = True


def program(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=90, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Recording]]:
    """What an open and a closed loop recorded of the same stall."""
    server = Server(("127.0.0.1", 0), Stalling)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        shown = program("-m", "loadtests.tests.stalling", address, str(RATE), str(SECONDS))
        yield {name: Recording.read(each) for name, each in shown.items()}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_schedules_have_their_rates() -> None:
    drawn = program("-c", DRAWN)
    gaps = [later - earlier for earlier, later in zip(drawn["poisson"], drawn["poisson"][1:], strict=False)]
    assert len(drawn["poisson"]) == pytest.approx(200 * 50, rel=0.05)
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)  # exponential gaps deviate by their mean
    assert drawn["constant"] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    parts = [sum(start <= at < start + 10 for at in drawn["stepped"]) for start in (0, 10, 20)]
    assert parts[0] == pytest.approx(1_000, rel=0.15)
    assert parts[1] == 0
    assert parts[2] == pytest.approx(3_000, rel=0.1)


def test_a_stall_shows_in_every_request_that_should_have_begun_in_it(told: dict[str, Recording]) -> None:
    latency = told["open"].latency("home")
    assert latency.count == RATE * SECONDS
    assert not told["open"].failures["home"]
    # A third of a second and more waited those of the stall but its last part: (1 - 0.34) s × 50/s.
    assert latency.share_above(0.34) * latency.count >= 0.8 * (STALL - 0.34) * RATE
    assert latency.most >= 0.9 * STALL


def test_a_closed_loop_would_have_hidden_it(told: dict[str, Recording]) -> None:
    latency = told["closed"].latency("home")
    assert latency.most >= 0.9 * STALL  # it met the stall…
    assert latency.share_above(0.34) * latency.count <= 2  # …once, and then asked nobody until it was over


def test_a_generator_that_cannot_keep_up_tells_how_late_it_was() -> None:
    late = Histogram.read(program("-c", BUSY))
    assert late.count == 30
    assert late.share_above(0.010) > 0.5
