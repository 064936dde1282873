"""Latency under open-loop load, of runs in which the machine was the same before and after, beside its own floor.

This machine's speed may halve within seconds, since a neighbour on its core's other hyperthread shows in no counter;
and at 70 % of saturation a queue of several requests is chance alone, for any server. So ratios come first (to the
floor: what a perfect server on this core would have had under the same arrivals), and milliseconds second.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from loadtests.bench import client, floor
from loadtests.bench.neighbours import MOST, Neighbours
from loadtests.bench.part import Part
from loadtests.bench.stack import Stack

RUNS, FEWEST = 7, 5  # that are wanted, and of which a median says something
EVEN_RUNS = 3
TRYING = 27.0  # seconds for each that is wanted: one that counts takes 22, one that does not 11
SECONDS = 6.0
SATURATED_SECONDS = 4.0  # longer than a phase of the machine, which may be faster or slower by a third for two
CHANGED = 0.1  # of saturation, from before a run to after it, past which the run tells of the machine

Rate = Callable[[float], float]  # requests a second, by the saturation of the moment


@dataclass(frozen=True, slots=True)
class Run:
    """``moments`` are its intended arrivals; ``before`` and ``after`` are answers a second at most; ``utilisation`` is
    the share of a core that the server's process tree took, ``others`` what other programs did; ``floor``, in seconds,
    is 0 until it has been recorded."""

    moments: Sequence[float]
    arrivals: client.Arrivals
    before: float
    after: float
    utilisation: float
    others: float
    floor: float = 0.0

    @property
    def saturation(self) -> float:
        return (self.before + self.after) / 2

    @property
    def trouble(self) -> str:
        """Why it does not count; nothing if it does."""
        if self.others > MOST:
            return f"other programs took {self.others:.0%} of a core"
        if not self.arrivals.valid:
            return f"the generator itself was {self.arrivals.lateness * 1000:.1f} ms late (p99)"
        if abs(self.after - self.before) > CHANGED * max(self.before, self.after):
            return f"the machine changed: at most {self.before:.0f} answers a second before, {self.after:.0f} after"
        return ""


@dataclass
class Asked:
    """Requests to a server, whose process tree is ``web``."""

    web: Part
    port: int
    requests: Sequence[bytes]

    def saturation(self) -> float:
        """Answers a second with as many questions as keep the server busy."""
        return client.closed_loop(self.port, self.requests, SATURATED_SECONDS, connections=16) / SATURATED_SECONDS

    def run(self, rate: Rate, before: float, seed: int, *, even: bool) -> Run:
        moments = client.moments(rate(before), SECONDS, seed, even=even)
        neighbours, spent, began = Neighbours(), self.web.cpu_seconds(), time.perf_counter()
        arrivals = client.open_loop(self.port, self.requests, moments)
        utilisation = (self.web.cpu_seconds() - spent) / (time.perf_counter() - began)
        others = neighbours.share()
        return Run(moments, arrivals, before, self.saturation(), utilisation, others)


def measure(stack: Stack, asked: Asked, name: str, where: str, rate: Rate) -> dict[str, float]:
    """Milliseconds at a rate; the floor's, and the ratio to it; what the server could do at most, and did."""
    key = f"{name}_p99_ms_{where}"
    runs = list(counted(stack, asked, rate, RUNS, key))
    if len(runs) < FEWEST:
        why = f"{len(runs)} of {len(runs) + len(stack.refused[key])} runs count, and {FEWEST} must: "
        stack.invalid[key] = why + stack.refused[key][-1]
        return {}
    p99 = [run.arrivals.percentile(0.99) for run in runs]
    found = {
        f"{name}_p99_ratio_to_floor": [ours / run.floor for ours, run in zip(p99, runs, strict=True)],
        f"{name}_p50_ms_{where}": [run.arrivals.percentile(0.5) * 1000 for run in runs],
        key: [each * 1000 for each in p99],
        f"{name}_p99_floor_ms": [run.floor * 1000 for run in runs],
        f"{name}_saturation_rps": [run.saturation for run in runs],
        f"{name}_utilisation_{where}": [run.utilisation for run in runs],
    }
    return {figure: stack.median(figure, values) for figure, values in found.items()}


def at_even_pace(stack: Stack, asked: Asked, name: str, where: str, rate: Rate) -> dict[str, float]:
    """Milliseconds at the same rate when requests come at equal intervals, if any run counted."""
    key = f"{name}_p99_ms_{where}_even"
    runs = [run.arrivals.percentile(0.99) * 1000 for run in counted(stack, asked, rate, EVEN_RUNS, key, even=True)]
    return {key: stack.median(key, runs)} if runs else {}


def counted(stack: Stack, asked: Asked, rate: Rate, wanted: int, key: str, *, even: bool = False) -> Iterator[Run]:
    """Runs that count, ``wanted`` of them or as many as there is time for; why others do not stays in the report."""
    until, before, given = time.monotonic() + wanted * TRYING, 0.0, 0
    refused = stack.refused.setdefault(key, [])
    while given < wanted and time.monotonic() < until:
        stack.say(f"{key}, run {given + 1} of {wanted}, {len(refused)} refused")
        # Each with chance of its own: 1,700 arrivals of one seed may queue a third more than another's.
        run = asked.run(rate, before or asked.saturation(), given + len(refused), even=even)
        if not (run.trouble or even):
            run = beside_floor(stack, run)
        if run.trouble:
            refused.append(run.trouble)
            before = run.after
        else:
            given += 1
            yield run
            before = 0.0  # that of a while ago: the floor has been recorded since


def beside_floor(stack: Stack, run: Run) -> Run:
    """With the 99th percentile of a server as fast as this one was, and never idle while somebody waits."""
    neighbours = Neighbours()
    done = floor.recorded(stack, client.WARM_UP + SECONDS)
    others = max(run.others, neighbours.share())
    waited = floor.latencies(done, run.saturation, run.moments)
    measured = [each for each, moment in zip(waited, run.moments, strict=True) if moment >= client.WARM_UP]
    return replace(run, others=others, floor=client.percentile(sorted(measured), 0.99))
