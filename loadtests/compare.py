"""Two runs: is one slower, or is it noise?

Method: block bootstrap. A run is cut into its intervals (a second or more each), intervals are drawn anew with
replacement, and each percentile's ratio B ÷ A is computed 2,000 times; slow moments stay together, so requests that
waited for the same stall do not count as independent evidence. A difference is *shown* if the interval that holds 99 %
of the ratios lies on one side of 1 and the ratio differs by more than 5 %. What this cannot see is a machine that as a
whole was slower during one of the two runs: repeat both, in turn, before believing it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.histogram import middle
from loadtests.recording import Recording

SHARES = (0.50, 0.95, 0.99)
DRAWS, CONFIDENCE, LEAST = 2_000, 0.99, 0.05
FEWEST = 10  # intervals of a path; from fewer nothing follows
SEED = 7


@dataclass(frozen=True)
class Compared:
    """One percentile of a path: seconds in A and B, and the interval of the ratio B ÷ A."""

    path: str
    share: float
    before: float
    after: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def verdict(self) -> str:
        if self.low > 1 and self.ratio > 1 + LEAST:
            return "slower"
        if self.high < 1 and self.ratio < 1 - LEAST:
            return "faster"
        return "no difference shown"


def compare(before: Recording, after: Recording) -> list[Compared]:
    """Every path that both runs have in enough intervals."""
    chance = np.random.default_rng(SEED)
    found = []
    for path in sorted(before.paths.keys() & after.paths.keys()):
        if min(len(before.paths[path]), len(after.paths[path])) < FEWEST:
            continue
        one, other = (_resampled(recording, path, chance) for recording in (before, after))
        for place, share in enumerate(SHARES):
            ratios = other[:, place] / one[:, place]
            low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            was, now = (recording.latency(path).percentile(share) for recording in (before, after))
            found.append(Compared(path, share, was, now, float(low), float(high)))
    return found


def doubts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Why these two results should not be compared; empty if nothing speaks against it."""
    found = [f"{name} is invalid: {'; '.join(result['troubles'])}"
             for name, result in (("A", before), ("B", after)) if not result["valid"]]  # fmt: skip
    for what in ("stage", "machine"):
        if before[what] != after[what]:
            found.append(f"the {what} differs: {before[what]} and {after[what]}")
    return found


def _resampled(recording: Recording, path: str, chance: np.random.Generator) -> NDArray[np.float64]:
    """[draw, share]: percentiles in seconds of a path whose intervals were drawn anew."""
    intervals = list(recording.paths[path].values())
    buckets = sorted({bucket for one in intervals for bucket in one.buckets})
    counts = np.array([[one.buckets[bucket] for bucket in buckets] for one in intervals])
    weights = chance.multinomial(len(intervals), np.full(len(intervals), 1 / len(intervals)), size=DRAWS)
    reached = np.cumsum(weights @ counts, axis=1)
    ranks = np.ceil(np.outer(reached[:, -1], SHARES)).astype(int)
    seconds: NDArray[np.float64] = np.array([middle(bucket) for bucket in buckets])
    places: NDArray[np.intp] = (reached[:, :, None] < ranks[:, None, :]).sum(axis=1).clip(max=len(buckets) - 1)
    return seconds[places]
