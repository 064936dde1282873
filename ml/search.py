"""Tuning: a coordinate search over grids, with a budget counted in trials, so that it ends alike on every machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

Settings = TypeVar("Settings")
Grids: TypeAlias = Mapping[str, Sequence[float]]  # each parameter's values in order, those searched first first

MARGIN = 0.005  # share by which a score must beat the defaults', which are safe: held-out shoppers cannot tell less


@dataclass
class Search(Generic[Settings]):
    """Walks one parameter at a time along its grid while the score grows, and once more around while trials last."""

    score: Callable[[Settings], float]
    tell: Callable[[], None] = lambda: None  # called after each trial
    margin: float = 0.0  # share by which a score must be better to move: where smaller gains are noise
    scores: dict[Settings, float] = field(default_factory=dict)

    def best(self, start: Settings, grids: Grids, trials: int) -> Settings:
        """The best settings found from ``start`` with at most ``trials`` calls of ``score``; a tie moves nothing."""
        budget = len(self.scores) + trials
        best = start
        self._tried(best)
        moved = True
        while moved and len(self.scores) < budget:
            moved = False
            for name, grid in grids.items():
                before = best
                best = self._walked(best, name, grid, budget)
                moved = moved or best != before
        return best

    def _walked(self, best: Settings, name: str, grid: Sequence[float], budget: int) -> Settings:
        here = min(range(len(grid)), key=lambda place: abs(grid[place] - getattr(best, name)))
        for step in (1, -1):
            place, start = here + step, best
            while 0 <= place < len(grid) and len(self.scores) < budget:
                trial = replace(best, **{name: grid[place]})  # type: ignore[type-var]
                if self._tried(trial) <= self._tried(best) * (1 + self.margin):
                    break
                best, place = trial, place + step
            if best != start:
                break
        return best

    def _tried(self, settings: Settings) -> float:
        if settings not in self.scores:
            self.scores[settings] = self.score(settings)
            self.tell()
        return self.scores[settings]
