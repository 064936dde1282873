"""Counts of what this process had to drop. In memory, because they matter most when Redis is away."""

from collections import Counter
from threading import Lock

_counts: Counter[str] = Counter()
_lock = Lock()


def count(name: str, by: int = 1) -> int:
    """Add to a count and return its new value."""
    with _lock:
        _counts[name] += by
        return _counts[name]


def counts() -> dict[str, int]:
    with _lock:
        return dict(_counts)
