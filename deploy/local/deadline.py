"""Waiting no longer than a deadline, and the failure of the demo that follows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.local.process import Process


class Failure(Exception):
    """The demo cannot go on: one line why, one line what to do."""

    def __init__(self, why: str, cure: str, log: Process | None = None) -> None:
        super().__init__(why)
        self.cure = cure
        self.log = log


@contextmanager
def within(seconds: float, why: "str | Callable[[], str]", cure: str) -> Iterator[Callable[[], bool]]:
    """A deadline to ask. Raises Failure after the block if the deadline is what ended it."""
    deadline = time.monotonic() + seconds
    passed = False

    def late() -> bool:
        nonlocal passed
        passed = time.monotonic() > deadline
        return passed

    yield late
    if passed:
        raise Failure(f"{why if isinstance(why, str) else why()} (waited {seconds:.0f} s)", cure)
