"""A run counts only where the machine stayed the same, and the floor is what queueing theory says it is."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loadtests.bench import client, floor, latency
from loadtests.bench.client import Arrivals
from loadtests.bench.latency import EVEN_RUNS, FEWEST, RUNS, Asked, Run
from loadtests.bench.stack import Stack, answers, free_port

SERVICE = 0.002
STEADY = np.linspace(0.0001, 10.0, 100_000)  # ten seconds in which nothing disturbed the machine


def run(before: float = 300.0, after: float = 300.0, late: float = 0.0, others: float = 0.0) -> Run:
    return Run([0.0], Arrivals([0.01, 0.02, 0.03], late), before, after, 0.65, others)


class Scripted(Asked):
    """A server whose saturation comes from a list, so that the machine changes when the test says."""

    def __init__(self, *saturations: float, late: float = 0.0) -> None:
        self.left, self.late = iter(saturations), late
        self.rates, self.seeds = list[float](), list[int]()

    def saturation(self) -> float:
        return next(self.left)

    def run(self, rate: latency.Rate, before: float, seed: int, *, even: bool) -> Run:
        self.rates.append(rate(before))
        self.seeds.append(seed)
        return run(before, self.saturation(), self.late)


def share(saturation: float) -> float:
    return 0.7 * saturation


def test_a_run_between_two_saturations_that_differ_is_made_again_at_the_new_one() -> None:
    stack, asked = Stack(), Scripted(400, 250, 245, 300, 320)
    counted = list(latency.counted(stack, asked, share, 2, "home", even=True))
    assert [(run.before, run.after) for run in counted] == [(250, 245), (300, 320)]
    assert asked.rates == pytest.approx([280, 175, 210])
    assert len(set(asked.seeds)) == 3
    assert stack.refused == {"home": ["the machine changed: at most 400 answers a second before, 250 after"]}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (run(300, 271), ""),
        (run(271, 300), ""),
        (run(300, 269), "the machine changed: at most 300 answers a second before, 269 after"),
        (run(269, 300), "the machine changed: at most 269 answers a second before, 300 after"),
        (run(late=0.012), "the generator itself was 12.0 ms late (p99)"),
        (run(others=0.5), "other programs took 50% of a core"),
    ],
)
def test_what_counts_and_why_not(made: Run, why: str) -> None:
    assert made.trouble == why


def test_a_run_beside_whose_floor_other_programs_ran_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter([0.5, 0.0])
    monkeypatch.setattr(latency, "beside_floor", lambda stack, run: replace(run, floor=0.01, others=next(others)))
    stack = Stack()
    (counted,) = latency.counted(stack, Scripted(*[200] * 3), share, 1, "home")
    assert counted.others == 0.0
    assert stack.refused == {"home": ["other programs took 50% of a core"]}


def test_figures_are_medians_of_the_runs_that_count_and_ratios_are_run_by_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floors = iter([0.015, 0.03, 0.01] * RUNS)
    monkeypatch.setattr(latency, "beside_floor", lambda stack, run: replace(run, floor=next(floors)))
    stack = Stack()
    asked = Scripted(400, 200, *itertools.repeat(200, 2 * (RUNS + EVEN_RUNS)))
    found = latency.measure(stack, asked, "home", "at_70pct", share)
    found |= latency.at_even_pace(stack, asked, "home", "at_70pct", share)
    assert found["home_p99_ms_at_70pct"] == found["home_p99_ms_at_70pct_even"] == 30.0
    assert found["home_p50_ms_at_70pct"] == 20.0
    assert found["home_p99_floor_ms"] == 15.0
    assert found["home_p99_ratio_to_floor"] == 2.0
    assert sorted(set(stack.runs["home_p99_ratio_to_floor"])) == pytest.approx([1.0, 2.0, 3.0])
    assert len(stack.runs["home_utilisation_at_70pct"]) == len(stack.runs["home_p99_ms_at_70pct"]) == RUNS
    assert len(stack.refused["home_p99_ms_at_70pct"]) == 1


@pytest.mark.parametrize("good", [FEWEST - 1, FEWEST])
def test_too_few_runs_that_count_are_no_figure(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    clock = itertools.count(0.0, latency.TRYING / 2)  # time for twice as many runs as are wanted, but for the last
    monkeypatch.setattr(latency, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(latency, "beside_floor", lambda stack, run: replace(run, floor=0.01))
    stack, asked = Stack(), Scripted(*[200] * 2 * good, *itertools.islice(itertools.cycle([200, 300]), 99))
    found = latency.measure(stack, asked, "home", "at_70pct", share)
    if good < FEWEST:
        said = f"{good} of {2 * RUNS - 1} runs count, and {FEWEST} must: the machine changed"
        assert stack.invalid["home_p99_ms_at_70pct"].startswith(said)
        assert found == {}
    else:
        assert len(stack.runs["home_p99_ms_at_70pct"]) == good
        assert latency.at_even_pace(stack, asked, "home", "at_70pct", share) == {}  # none of its runs counts
        assert not stack.invalid


def test_even_arrivals_are_even_and_poisson_ones_as_many_but_not() -> None:
    even, poisson = (np.array(client.moments(200, 50, 7, even=even)) for even in (True, False))
    seconds = client.WARM_UP + 50
    assert np.diff(even) == pytest.approx(1 / 200)
    assert len(even) == pytest.approx(200 * seconds, abs=1)
    assert len(poisson) == pytest.approx(200 * seconds, rel=0.05)
    assert np.diff(poisson).std() == pytest.approx(1 / 200, rel=0.05)  # exponential gaps deviate by their mean
    assert client.moments(200, 50, 7) == poisson.tolist() != client.moments(200, 50, 8)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_the_floor_of_a_machine_that_never_stops_is_the_queue_of_theory(share: float) -> None:
    """M/D/1: the mean wait is ``share / (2 (1 - share))`` services (Pollaczek and Khinchine)."""
    moments = client.moments(share / SERVICE, 2_000, 1)
    found = floor.latencies(STEADY, 1 / SERVICE, moments)
    assert np.mean(found) == pytest.approx(SERVICE * (1 + share / (2 * (1 - share))), rel=0.05)
    assert min(found) == pytest.approx(SERVICE)


def test_at_an_even_pace_nobody_waits_for_a_machine_that_never_stops() -> None:
    found = floor.latencies(STEADY, 1 / SERVICE, client.moments(0.7 / SERVICE, 10, 1, even=True))
    assert found == pytest.approx([SERVICE] * len(found))


def test_a_stall_of_the_machine_is_in_the_floor_of_whoever_comes_then() -> None:
    stalled = np.where(STEADY < 5, STEADY, STEADY + 0.3)
    found = floor.latencies(stalled, 1 / SERVICE, [4.0, 5.1, 5.2, 6.0])
    assert found == pytest.approx([SERVICE, 0.2, 0.1, SERVICE], abs=3 * SERVICE)  # each after the one before it
    assert found[0] == found[3] == pytest.approx(SERVICE * STEADY[-1] / stalled[-1])  # since the mean is the server's


def test_the_machine_is_recorded_on_the_servers_core() -> None:
    with Stack() as stack:
        done = floor.recorded(stack, 0.2)
    assert len(done) > 10
    assert (np.diff(done) > 0).all()
    assert done[-2] < 0.2 <= done[-1]


SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *said):
        pass

ThreadingHTTPServer.request_queue_size = 200
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("even", [False, True])
def test_a_run_asks_at_its_pace_and_tells_what_the_server_took(monkeypatch: pytest.MonkeyPatch, *, even: bool) -> None:
    monkeypatch.setattr(client, "WARM_UP", 0.2)
    monkeypatch.setattr(latency, "SECONDS", 0.5)
    monkeypatch.setattr(latency, "SATURATED_SECONDS", 0.3)
    port = free_port()
    with Stack() as stack:
        web = stack.python("server", "-c", SERVER, str(port), under_test=True)
        web.wait_until(lambda: answers(port))
        made = Asked(web, port, [client.get("/")]).run(lambda saturation: 0.5 * saturation, 100.0, 7, even=even)
        beside = latency.beside_floor(stack, made)
    assert made.moments == client.moments(50, 0.5, 7, even=even)
    assert len(made.arrivals.latencies) == sum(moment >= client.WARM_UP for moment in made.moments)
    assert made.before == 100 < made.after
    assert 0 < made.utilisation < 1
    assert beside.floor > 0
    assert beside.others >= made.others
