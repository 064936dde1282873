"""A difference is shown when there is one, and not when there is none."""

import numpy as np

from loadtests import compare
from loadtests.recording import Recording


def run(seed: int, factor: float = 1.0, stalls: float = 0.0, seconds: int = 60) -> Recording:
    """60 requests a second, lognormal around 10 ms; in some seconds everybody waits 200 ms longer."""
    chance = np.random.default_rng(seed)
    recording = Recording(float(seconds), begins=1_000.0)
    for second in range(seconds):
        stalled = 200.0 * (chance.random() < stalls)
        for wait in chance.lognormal(np.log(10 * factor), 0.5, 60):
            recording.fire("home", wait + stalled, start_time=1_000.0 + second)
    return recording


def verdicts(before: Recording, after: Recording) -> set[str]:
    return {each.verdict for each in compare.compare(before, after)}


def test_a_run_compared_with_itself_shows_no_difference() -> None:
    one = run(1)
    assert verdicts(one, one) == {"no difference shown"}


def test_two_runs_of_the_same_service_show_no_difference() -> None:
    assert verdicts(run(1), run(2)) == {"no difference shown"}


def test_stalls_of_whole_seconds_are_one_observation_each_and_so_prove_little() -> None:
    assert verdicts(run(1, stalls=0.05), run(5, stalls=0.05)) == {"no difference shown"}


def test_a_service_that_became_slower_is_found_out_and_the_other_way_round() -> None:
    assert verdicts(run(1), run(2, factor=1.4)) == {"slower"}
    assert verdicts(run(1, factor=1.4), run(2)) == {"faster"}


def test_the_interval_holds_the_true_ratio() -> None:
    median = next(each for each in compare.compare(run(1), run(2, factor=1.2)) if each.share == 0.5)
    assert median.low < 1.2 < median.high
    assert median.low < median.ratio < median.high


def test_too_short_a_run_proves_nothing() -> None:
    assert compare.compare(run(1, seconds=5), run(2, factor=3, seconds=5)) == []


def test_runs_that_should_not_be_compared_are_doubted() -> None:
    one = {"valid": True, "troubles": [], "stage": "average", "machine": "this"}
    assert compare.doubts(one, one) == []
    other = one | {"valid": False, "troubles": ["late"], "machine": "that"}
    assert len(compare.doubts(one, other)) == 2
