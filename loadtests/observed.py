"""What shoppers saw while a part was broken, and which promises were not kept."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from loadtests.plan import Faults

NEED_NO_DATABASE = {"home", "category"}  # must be served while it is away; the others may then say so
REFUSAL = "status 503"


@dataclass(frozen=True)
class Seen:
    """One request: when it began and ended (seconds since 1970), and what came of it."""

    path: str
    begun: float
    ended: float
    failure: str
    panel: bool | None  # whether the panel was there; None where none is promised


@dataclass
class Observed:
    """One row of the table."""

    name: str
    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # "path: message"
    refused: int = 0  # a helpful 503 where that is all one may hope for
    panel_missing: float = 0.0  # seconds, the longest time
    events: int = 0  # answered 2xx
    lost: int = 0
    twice: int = 0
    recovery: float | None = None  # seconds; None if it did not

    def count(self, seen: Iterable[Seen], may_refuse: bool) -> None:
        """What came of these requests. ``may_refuse``: pages that need the database may answer 503."""
        seen = sorted(seen, key=lambda one: one.ended)
        self.requests = len(seen)
        for one in seen:
            if may_refuse and one.path not in NEED_NO_DATABASE and one.failure == REFUSAL:
                self.refused += 1
            elif one.failure:
                self.failed[f"{one.path}: {one.failure}"] += 1
        self.panel_missing = longest_without([(one.ended, one.panel) for one in seen if one.panel is not None])

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"failed": dict(self.failed)}

    def broken(self, promised: Faults) -> list[str]:
        """Which promises were not kept."""
        found = [f"{count} × {what}" for what, count in self.failed.items()]
        if self.panel_missing > promised.panel_missing:
            found.append(f"the panel was missing for {self.panel_missing:.1f} s")
        if self.lost or self.twice:
            found.append(f"of {self.events} events {self.lost} were lost and {self.twice} kept twice")
        if self.recovery is None:
            found.append(f"not recovered after {promised.recover:.0f} s")
        return found


def longest_without(sights: Iterable[tuple[float, bool]]) -> float:
    """Seconds from the first page without its panel to the next page with it, at their longest."""
    longest, since, moment = 0.0, None, 0.0
    for moment, there in sights:
        if since is not None:
            longest = max(longest, moment - since)
        since = None if there else moment if since is None else since
    return longest
