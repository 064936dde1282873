"""What was measured, by path and by interval, so that it can be plotted, merged across processes and resampled."""

import math
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from loadtests.histogram import Histogram, merged

INTERVALS = 120  # of a run, at most: enough for a curve, few enough for a file
APART = {"sign in", "home, cold"}  # happen mostly while warming up, and are measured all the same
SERVER_TIMING = "Server-Timing"


def histograms() -> "defaultdict[Any, Histogram]":
    return defaultdict(Histogram)


class Recording:
    """Requests that should have begun in the measured time: ``seconds`` from ``begins`` (since 1970).

    ``begins`` is infinite until everybody has signed in. Each process has its own; intervals count from it.
    ``own_after`` so many seconds of being known, a shopper's panels ought to be of their own slate.
    """

    def __init__(self, seconds: float, begins: float = math.inf, own_after: float = 0.0) -> None:
        self.begins, self.seconds, self.own_after = begins, seconds, own_after
        self.width = max(1.0, seconds / INTERVALS)  # of an interval, seconds
        self.paths: defaultdict[str, defaultdict[int, Histogram]] = defaultdict(histograms)
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        # What filled the panels of a path's answers: of shoppers who ought to have a slate, and of everybody else.
        self.sources: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.strangers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.split: defaultdict[str, defaultdict[str, Histogram]] = defaultdict(histograms)
        self.late = Histogram()
        self.cpu: dict[str, float] = {}  # share of a core, by generating process

    @property
    def ends(self) -> float:
        return self.begins + self.seconds

    def covers(self, moment: float) -> bool:
        return self.begins <= moment < self.ends

    def fire(
        self, name: str, response_time: float, exception: object = None, start_time: float = 0.0,
        response: Any = None, context: Mapping[str, Any] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        """For Locust's ``request`` event. Failed requests count too, with the time that the shopper waited."""
        begun = start_time or time.time() - response_time / 1e3
        if not self.covers(begun) and name not in APART:
            return
        interval = int(max(0.0, begun - self.begins) / self.width)
        self.paths[name][interval].record(response_time / 1e3)
        if exception:
            self.failures[name][str(exception)[:160]] += 1
        if context and "source" in context:
            panels = self.sources if context["known"] >= self.own_after else self.strangers
            panels[name][context["source"]] += 1
        for step, seconds in server_timing(response).items():
            self.split[name][step].record(seconds)

    def latency(self, path: str) -> Histogram:
        return merged(self.paths[path].values()) if path in self.paths else Histogram()

    def count(self) -> int:
        return sum(histogram.count for path in self.paths.values() for histogram in path.values())

    def shown(self) -> dict[str, Any]:
        return {
            "begins": self.begins,
            "seconds": self.seconds,
            "own_after": self.own_after,
            "paths": {
                path: {str(interval): one.shown() for interval, one in sorted(intervals.items())}
                for path, intervals in sorted(self.paths.items())
            },
            "failures": {path: dict(counts) for path, counts in sorted(self.failures.items())},
            "sources": {path: dict(counts) for path, counts in sorted(self.sources.items())},
            "strangers": {path: dict(counts) for path, counts in sorted(self.strangers.items())},
            "split": {
                path: {step: one.shown() for step, one in steps.items()} for path, steps in sorted(self.split.items())
            },
            "late": self.late.shown(),
            "cpu": self.cpu,
        }

    @classmethod
    def read(cls, shown: Mapping[str, Any]) -> "Recording":
        recording = cls(shown["seconds"], shown["begins"], shown["own_after"])
        recording.merge(shown)
        return recording

    def merge(self, shown: Mapping[str, Any]) -> None:
        """Add what another process recorded of the same run."""
        for path, intervals in shown["paths"].items():
            for interval, one in intervals.items():
                self.paths[path][int(interval)].merge(Histogram.read(one))
        for path, steps in shown["split"].items():
            for step, one in steps.items():
                self.split[path][step].merge(Histogram.read(one))
        for path, counts in shown["failures"].items():
            self.failures[path].update(counts)
        for path, counts in shown["sources"].items():
            self.sources[path].update(counts)
        for path, counts in shown["strangers"].items():
            self.strangers[path].update(counts)
        self.late.merge(Histogram.read(shown["late"]))
        self.cpu |= shown["cpu"]


class Meter:
    """The CPU of this process: near a whole core, a generator measures itself."""

    def __init__(self) -> None:
        self._cpu, self._clock = self._used(), time.monotonic()

    def share(self) -> float:
        """Of one core, since the meter was made."""
        return (self._used() - self._cpu) / max(1e-9, time.monotonic() - self._clock)

    @staticmethod
    def _used() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def server_timing(response: Any) -> dict[str, float]:
    """Seconds by step from a response's Server-Timing header (W3C): ``db;dur=1.2, cache;desc="hit";dur=0.3``."""
    header = (getattr(response, "headers", None) or {}).get(SERVER_TIMING, "")
    steps = {}
    for metric in header.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        durations = [value for key, _, value in (one.partition("=") for one in parameters) if key.strip() == "dur"]
        try:
            steps[name] = float(durations[0]) / 1e3
        except (IndexError, ValueError):
            continue
    return steps
