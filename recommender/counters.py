"""What this process did: counts, durations, states. In memory, because they matter most when Redis is away, and
because a page must not wait for them; recommender.metrics carries them to where everybody's are added up."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from threading import Lock

# Upper bounds of a histogram's buckets, in seconds. From a local call to the longest deadline, and a sweep beyond.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0, 120.0)

_counts: Counter[str] = Counter()
_states: dict[str, str] = {}
_lock = Lock()


def count(name: str, by: int = 1, label: str = "") -> int:
    """Add to a count, of one value of its label if it has one, and return its new value."""
    series = f"{name}:{label}" if label else name
    with _lock:
        _counts[series] += by
        return _counts[series]


def observe(name: str, seconds: Iterable[float]) -> None:
    """Put durations into their buckets: a count for each bucket, and one of microseconds for the sum."""
    seconds = list(seconds)
    buckets = Counter(f"{name}:{bisect_left(BOUNDS, one)}" for one in seconds)
    buckets[f"{name}:sum"] = round(sum(seconds) * 1e6)
    with _lock:
        _counts.update(buckets)


def tell(name: str, state: str) -> None:
    """The state that something of this process is in from now on."""
    with _lock:
        _states[name] = state


def counts() -> dict[str, int]:
    with _lock:
        return dict(_counts)


def states() -> dict[str, str]:
    with _lock:
        return dict(_states)
