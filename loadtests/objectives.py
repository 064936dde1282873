"""Whether a run is valid, and which of its objectives it missed, by how much."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loadtests.plan import AT_LEAST, Generator
from loadtests.recording import Recording

OWN = {"fresh"}  # sources of a panel: the shopper's own slate
STALE = {"stale"}


@dataclass(frozen=True)
class Verdict:
    """One objective, and what was measured: ``nan`` where nothing was."""

    path: str
    objective: str
    limit: float
    measured: float

    @property
    def held(self) -> bool:
        return self.measured >= self.limit if self.objective in AT_LEAST else self.measured <= self.limit

    def __str__(self) -> str:
        if math.isnan(self.measured):
            return f"{self.path}: {self.objective} was not measured"
        sign = ("≥" if self.held else "<") if self.objective in AT_LEAST else ("≤" if self.held else ">")
        text = f"{self.path}: {self.objective} {self.measured:.4g} {sign} {self.limit:g}"
        if self.held or not self.limit:
            return text
        return f"{text}, missed by {abs(self.measured / self.limit - 1):.0%}"


def judge(recording: Recording, objectives: Mapping[str, Mapping[str, float]], asked: Iterable[str]) -> list[Verdict]:
    """Of every path that was asked for or met: one that was asked for and never answered is missed."""
    paths = {*asked, *recording.paths}
    return [
        Verdict(path, name, limit, measured(recording, path, name))
        for path, wanted in objectives.items()
        if path in paths
        for name, limit in wanted.items()
    ]


def measured(recording: Recording, path: str, name: str) -> float:
    """An objective's figure for a path."""
    latency = recording.latency(path)
    if not latency.count:
        return math.nan
    if name.endswith("_ms"):
        return latency.percentile(int(name[1:3]) / 100) * 1e3
    if name == "error_rate":
        return sum(recording.failures.get(path, {}).values()) / latency.count
    sources = recording.sources.get(path)
    if not sources:
        return math.nan
    own, stale = (sum(sources[source] for source in kind) for kind in (OWN, STALE))
    return {"hit_rate": own, "stale_rate": stale, "fallback_rate": sources.total() - own - stale}[
        name
    ] / sources.total()


def troubles(recording: Recording, generator: Generator) -> list[str]:
    """Why the run says nothing about the server; empty if it is valid."""
    found = [] if recording.count() else ["nothing was measured"]
    late = recording.late.share_above(generator.late_ms / 1e3)
    if late > generator.late_share:
        found.append(
            f"the generator began {late:.1%} of the requests more than {generator.late_ms:g} ms late "
            f"(p99 {recording.late.percentile(0.99) * 1e3:.0f} ms, at most {generator.late_share:.1%} may be)"
        )
    for process, share in recording.cpu.items():
        if share > generator.cpu_share:
            found.append(f"generator {process} used {share:.0%} of a core, more than {generator.cpu_share:.0%}")
    return found
