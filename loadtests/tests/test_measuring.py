"""Histograms, verdicts and slo.toml: what a run is judged by."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtests import objectives, plan
from loadtests.histogram import RATIO, Histogram, merged
from loadtests.objectives import Verdict
from loadtests.recording import Recording, server_timing

GENERATOR = plan.Generator(late_ms=10, late_share=0.01, cpu_share=0.9)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])
def test_percentiles_are_numpys_within_half_a_bucket(share: float) -> None:
    chance = np.random.default_rng(7)
    values = np.concatenate([chance.lognormal(-5, 1, 20_000), chance.uniform(1, 60, 50)])
    exact = np.quantile(values, share, method="inverted_cdf")
    assert Histogram(values.tolist()).percentile(share) == pytest.approx(exact, rel=RATIO - 1)


def test_histograms_of_several_processes_add_up_and_survive_a_file() -> None:
    chance = np.random.default_rng(7)
    values = chance.exponential(0.02, 3_000).tolist()
    parts = [Histogram.read(Histogram(values[start::3]).shown()) for start in range(3)]
    whole = Histogram(values)
    assert merged(parts).buckets == whole.buckets
    assert merged(parts).percentile(0.99) == whole.percentile(0.99)
    assert merged(parts).mean == pytest.approx(np.mean(values))


def recorded(seconds: list[float], failed: int = 0, sources: dict[str, int] | None = None) -> Recording:
    recording = Recording(60.0, begins=1_000.0)
    for number, value in enumerate(seconds):
        exception = ValueError("status 500") if number < failed else None
        recording.fire("home", value * 1e3, exception, start_time=1_000.0 + number % 60)
    recording.sources["home"].update(sources or {})
    return recording


def test_what_begins_while_warming_up_or_after_the_end_is_not_measured() -> None:
    recording = Recording(60.0, begins=1_000.0)
    for moment in (999.9, 1_000.0, 1_059.9, 1_060.0):
        recording.fire("home", 5.0, start_time=moment)
    assert recording.count() == 2


def test_a_missed_objective_is_named_with_how_much() -> None:
    recording = recorded([0.010] * 90 + [0.100] * 10, failed=3)
    wanted = {"home": {"p50_ms": 20.0, "p99_ms": 50.0, "error_rate": 0.01}}
    verdicts = {verdict.objective: verdict for verdict in objectives.judge(recording, wanted, ["home"])}
    assert verdicts["p50_ms"].held
    assert not verdicts["p99_ms"].held
    assert "home: p99_ms" in str(verdicts["p99_ms"])
    assert "missed by 1" in str(verdicts["p99_ms"])  # 100 ms are once as much again, within a bucket
    assert verdicts["error_rate"].measured == pytest.approx(0.03)
    assert not verdicts["error_rate"].held


def test_rates_of_hits_and_fallbacks_come_from_the_panels() -> None:
    recording = recorded([0.01] * 20, sources={"fresh": 15, "stale": 3, "popular": 1, "none": 1})
    wanted = {"home": {"hit_rate": 0.75, "stale_rate": 0.1, "fallback_rate": 0.1}}
    held = {verdict.objective: verdict.held for verdict in objectives.judge(recording, wanted, [])}
    assert held == {"hit_rate": True, "stale_rate": False, "fallback_rate": True}


@pytest.mark.parametrize(
    ("known", "hit_rate"),
    [(-math.inf, 1.0), (1.9, 1.0), (2.0, 0.5)],
    ids=["a stranger", "a newcomer", "somebody who ought to have a slate"],
)
def test_only_the_panels_of_those_who_ought_to_have_a_slate_are_judged(known: float, hit_rate: float) -> None:
    recording = Recording(60.0, begins=1_000.0, own_after=2.0)
    recording.fire("home", 5.0, start_time=1_001.0, context={"source": "fresh", "known": 60.0})
    recording.fire("home", 5.0, start_time=1_001.0, context={"source": "popular", "known": known})
    assert objectives.measured(recording, "home", "hit_rate") == hit_rate
    assert objectives.measured(recording, "home", "fallback_rate") == 1 - hit_rate
    assert recording.sources["home"].total() + recording.strangers["home"].total() == 2


def test_a_path_that_was_asked_for_and_never_answered_is_missed() -> None:
    (verdict,) = objectives.judge(recorded([0.01]), {"search": {"p50_ms": 10.0}}, ["search"])
    assert not verdict.held
    assert str(verdict) == "search: p50_ms was not measured"
    assert not objectives.judge(recorded([0.01]), {"search": {"p50_ms": 10.0}}, ["home"])


def test_judging_adds_nothing_to_what_was_recorded() -> None:
    recording = recorded([0.01])
    del recording.sources["home"]
    before = recording.shown()
    (verdict,) = objectives.judge(recording, {"home": {"hit_rate": 0.5}}, ["home"])
    assert str(verdict) == "home: hit_rate was not measured"
    assert recording.shown() == before


def test_an_objective_of_nothing_says_what_was_measured() -> None:
    assert str(Verdict("home", "error_rate", 0.0, 0.02)) == "home: error_rate 0.02 > 0"


def test_a_generator_that_began_late_makes_the_run_invalid() -> None:
    recording = recorded([0.01] * 100)
    for _ in range(100):
        recording.late.record(0.001)
    assert objectives.troubles(recording, GENERATOR) == []
    for _ in range(3):
        recording.late.record(0.200)
    (trouble,) = objectives.troubles(recording, GENERATOR)
    assert "more than 10 ms late" in trouble


def test_a_generator_without_cpu_left_makes_the_run_invalid() -> None:
    recording = recorded([0.01])
    recording.cpu = {"one": 0.4, "two": 0.97}
    (trouble,) = objectives.troubles(recording, GENERATOR)
    assert "two used 97%" in trouble


def test_a_run_that_measured_nothing_is_invalid() -> None:
    assert objectives.troubles(recorded([]), GENERATOR) == ["nothing was measured"]


def test_server_timing_is_read_as_the_standard_writes_it() -> None:
    class Answer:
        headers = {"Server-Timing": 'cache;desc="hit";dur=0.5, db;dur=2, edge;desc=x, broken;dur=a'}  # noqa: RUF012

    assert server_timing(Answer()) == {"cache": 0.0005, "db": 0.002}
    assert server_timing(None) == {}


def test_the_shops_own_objectives_can_be_read() -> None:
    found = plan.read()
    assert {"smoke", "average", "stress", "spike", "soak"} <= set(found.stages)
    assert set(found.mix) <= set(found.objectives) | {"home, opted out"}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("p99_ms = 200", "p99ms = 200", "objectives.home.p99ms: unknown"),
        ("p50_ms = 25", 'p50_ms = "fast"', "objectives.home.p50_ms: must be a number"),
        ("steps = [[10, 10]]", "steps = [10, 10]", "stages.smoke.steps: must be pairs"),
        ("late_ms = 10", "late_ms = -1", "generator.late_ms: must be a number"),
        ('"search" = 1', '"serach" = 1', "mix.serach: unknown"),
        ("[faults]", "[fault]", "the file.fault: unknown"),
        ("[faults]", "[faults", "slo.toml"),
    ],
)
def test_a_mistake_in_the_objectives_is_one_clear_line(before: str, after: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "slo.toml"
    text = plan.FILE.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(plan.BadPlan, match=named.replace(".", r"\.")):
        plan.read(file)


def test_the_command_says_it_in_one_line_too(tmp_path: Path) -> None:
    file = tmp_path / "slo.toml"
    file.write_text("[faults")
    told = subprocess.run(
        [sys.executable, "-m", "loadtests", "run", "smoke", "--slo", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
