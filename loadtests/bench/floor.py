"""The machine's own floor: the latency of a perfect server, one at a time and first come first served, on this core.

    python -m loadtests.bench.floor SECONDS FILE

The program only counts, and writes when each equal piece of its work was done. ``latencies`` queues a run's arrivals
at that recording: whatever waits there waits for the machine, or for chance that sent several at once.
"""

import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.bench.stack import Stack

PIECE = 2_000  # rounds of the counting loop: some 50 microseconds, a small part of any request
BEYOND = 1e6  # seconds for which a recording goes on at its mean speed


def recorded(stack: Stack, seconds: float) -> NDArray[np.float64]:
    """Seconds from the beginning to the end of each piece, counted on the core of the server under test."""
    file = stack.folder / "counted"
    stack.python("counting", "-m", "loadtests.bench.floor", str(seconds), str(file), under_test=True).finish()
    return np.fromfile(file)


def latencies(done: NDArray[np.float64], rate: float, moments: Sequence[float]) -> list[float]:
    """Seconds from each arrival to its answer, from a server that at most ``rate`` answers a second keep busy.

    The queue is kept in pieces of work, which the recording then turns into time: so a request that meets a stall of
    the machine is later by that stall, and so is everybody behind it.
    """
    pieces, last = len(done), done[-1]
    work = np.array([*range(pieces + 1), pieces * (1 + BEYOND / last)])
    clock = np.array([0.0, *done, last + BEYOND])
    arrivals = np.array(moments)
    each = pieces / last / rate
    ends, free = [], 0.0
    for arrival in np.interp(arrivals, clock, work).tolist():
        free = max(free, arrival) + each
        ends.append(free)
    found: list[float] = (np.interp(ends, work, clock) - arrivals).tolist()
    return found


def count(seconds: float) -> "array[float]":
    clock, done, at = time.perf_counter, array("d"), 0.0
    start = clock()
    while at < seconds:
        for _ in range(PIECE):
            pass
        at = clock() - start
        done.append(at)
    return done


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(count(float(sys.argv[1])).tobytes())
