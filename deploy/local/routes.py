"""Who answers an endpoint's calls now: one fleet, or two while calls move from the old to the new."""

import random
import threading
from dataclasses import dataclass

from deploy.local.fleets import Fleet


@dataclass(frozen=True, slots=True)
class Route:
    """``share`` of the calls goes to ``green``, the rest to ``blue``."""

    blue: Fleet
    green: Fleet | None = None
    share: float = 0.0

    def draw(self) -> Fleet:
        """The fleet for one call."""
        if self.green is not None and random.random() < self.share:  # noqa: S311 - traffic, not secrets
            return self.green
        return self.blue

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        return (self.blue,) if self.green is None else (self.blue, self.green)


class Routes:
    """Every endpoint's route. ``closed`` is set when the local cloud ends."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        self._lock = threading.Lock()
        self.closed = threading.Event()

    def get(self, region: str, name: str) -> Route | None:
        """Called on the hot path: one dictionary look-up."""
        return self._routes.get((region, name))

    def set(self, region: str, name: str, route: Route) -> bool:
        """Whether it was taken: nothing is, once the local cloud ends."""
        with self._lock:
            if not self.closed.is_set():
                self._routes[region, name] = route
            return not self.closed.is_set()

    def pop(self, region: str, name: str) -> Route | None:
        with self._lock:
            return self._routes.pop((region, name), None)

    def close(self) -> list[Route]:
        """Take nothing more. Returns what was there."""
        with self._lock:
            self.closed.set()
            routes = list(self._routes.values())
            self._routes.clear()
            return routes
