"""Work beside the requests, at a pace that they do not notice: a little, then a rest."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 0.002  # seconds of work between two rests: as long as a request may be held up by it
LOOKS = 32  # items between two looks at the clock


class Pace:
    """At most this share of a core, of the thread that makes it; all of it, and no rest, unless told otherwise."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self._rested = time.thread_time()

    def __call__(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, with rests between them."""
        for number, item in enumerate(items):
            if number % LOOKS == 0:
                self.rest()
            yield item

    def rest(self) -> None:
        """Unless little was done since the last rest."""
        spent = time.thread_time() - self._rested
        if self.share < 1 and spent > AT_ONCE:
            time.sleep(spent * (1 / self.share - 1))
            self._rested = time.thread_time()
