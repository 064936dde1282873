"""Open-loop arrivals: requests begin when the schedule says, whether or not earlier ones have been answered.

A closed loop asks less while the server stalls, and so leaves out the very latencies that matter ("coordinated
omission", a term of Gil Tene's). Here latency counts from the intended start, so a stall of a second shows in every
request that should have begun in it.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # noqa: F401  # isort: skip

import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count, takewhile

import gevent
from gevent.pool import Group

Step = tuple[float, float]  # requests per second, for so many seconds


def poisson(rate: float, seconds: float, chance: random.Random) -> Iterator[float]:
    """Intended starts in seconds from now, as independent people arrive: exponential gaps."""
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def constant(rate: float, seconds: float) -> Iterator[float]:
    """Intended starts with equal gaps, for a comparison without the arrivals' own noise."""
    return takewhile(lambda at: at < seconds, (number / rate for number in count()))


def stepped(steps: Iterable[Step], chance: random.Random) -> Iterator[float]:
    """Poisson arrivals whose rate changes."""
    begun = 0.0
    for rate, seconds in steps:
        for at in poisson(rate, seconds, chance) if rate else ():
            yield begun + at
        begun += seconds


def play(schedule: Iterable[float], begin: Callable[[float], object], late: Callable[[float], None]) -> None:
    """Call ``begin(due)`` in a greenlet of its own at each moment; returns when all of them have ended.

    ``due`` is the intended start on ``time.perf_counter``'s clock. ``late`` is told by how many seconds each began
    later than that, which is the generator's fault and never the server's.
    """
    started, open_now = time.perf_counter(), Group()
    try:
        for at in schedule:
            due = started + at
            gevent.sleep(max(0.0, due - time.perf_counter()))  # also when late: the answers must be read meanwhile
            late(max(0.0, time.perf_counter() - due))
            open_now.spawn(begin, due)
        open_now.join()
    finally:
        open_now.kill()
