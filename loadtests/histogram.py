"""Latencies in buckets of equal ratio: small, mergeable across processes, and of known error at every magnitude.

The same idea as HdrHistogram. The library `hdrhistogram` was passed over: it takes integers alone, its encoding is
opaque in a JSON file, and it brings packaging tools along at run time; this is all that is needed of it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

RATIO = 1.01  # of a bucket's edges, so a percentile is at most half a per cent off
LEAST = 1e-6  # seconds; whatever is shorter counts as this
_STEP = math.log(RATIO)


class Histogram:
    """Counts of durations in seconds."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.buckets: Counter[int] = Counter()
        self.total = 0.0
        self.most = 0.0
        for value in values:
            self.record(value)

    def record(self, seconds: float) -> None:
        self.buckets[math.floor(math.log(max(seconds, LEAST) / LEAST) / _STEP)] += 1
        self.total += seconds
        self.most = max(self.most, seconds)

    @property
    def count(self) -> int:
        return self.buckets.total()

    @property
    def mean(self) -> float:
        return self.total / self.count if self.buckets else math.nan

    def percentile(self, share: float) -> float:
        """The least value that at least this ``share`` (0 to 1) of all do not exceed; NaN without values."""
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                return min(middle(bucket), self.most)
        return math.nan

    def share_above(self, seconds: float) -> float:
        """The share of values in buckets that lie above; 0 without values."""
        above = sum(count for bucket, count in self.buckets.items() if middle(bucket) > seconds)
        return above / self.count if self.buckets else 0.0

    def merge(self, other: "Histogram") -> None:
        self.buckets.update(other.buckets)
        self.total += other.total
        self.most = max(self.most, other.most)

    def shown(self) -> dict[str, Any]:
        """For JSON; ``read`` is its inverse."""
        return {"buckets": {str(bucket): count for bucket, count in sorted(self.buckets.items())},
                "total": self.total, "most": self.most}  # fmt: skip

    @classmethod
    def read(cls, shown: Mapping[str, Any]) -> "Histogram":
        histogram = cls()
        histogram.buckets.update({int(bucket): count for bucket, count in shown["buckets"].items()})
        histogram.total, histogram.most = float(shown["total"]), float(shown["most"])
        return histogram


def merged(histograms: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for one in histograms:
        whole.merge(one)
    return whole


def middle(bucket: int) -> float:
    """Seconds that stand for a bucket: the geometric mean of its edges."""
    return LEAST * math.exp((bucket + 0.5) * _STEP)
