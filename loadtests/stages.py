"""Running a stage: Locust as a library, in this process or with worker processes, judged at its end."""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # isort: skip
from locust.argument_parser import get_parser  # isort: skip
from locust.env import Environment  # isort: skip

import json
import logging
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from locust.runners import STATE_RUNNING, WORKER_REPORT_INTERVAL

from loadtests import journeys, objectives
from loadtests.browser import TIMEOUT
from loadtests.objectives import Verdict
from loadtests.plan import Plan, Stage
from loadtests.recording import Recording

ANSWERS = TIMEOUT + 3  # seconds after the last arrival by which all have been answered or given up
CONNECTED = 30.0  # seconds within which a worker process must report
SIGNED_IN = 180.0  # seconds within which all browsers must have signed in
CLOSE = 1.1  # a breakpoint is found when the rate that held and the one that did not are so near
SHOPPERS = (journeys.Household, journeys.Visitor, journeys.ConsentingVisitor, journeys.OptedOut)


@dataclass(frozen=True)
class Target:
    """Where the shop is, what else than this machine may be loaded, and with how many generating processes."""

    host: str
    allowed: str = ""
    workers: int = 0


class NotStarted(Exception):
    """Users or worker processes did not come."""


@dataclass(frozen=True)
class Outcome:
    recording: Recording
    verdicts: list[Verdict]
    troubles: list[str]

    @property
    def missed(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.held]

    def shown(self) -> dict[str, Any]:
        return {
            "valid": not self.troubles,
            "troubles": self.troubles,
            "held": not self.missed,
            "objectives": [[each.path, each.objective, each.limit, each.measured] for each in self.verdicts],
            "recording": self.recording.shown(),
        }


def run(target: Target, stage: Stage, plan: Plan, watch: Callable[[Recording], None] = lambda _: None) -> Outcome:
    """One stage from its first sign-in to its verdicts; ``watch`` is called twice a second."""
    with _users(target, stage, plan) as (runner, recording):
        with gevent.Timeout(SIGNED_IN, NotStarted(f"not everybody had signed in after {SIGNED_IN:.0f} s")):
            while math.isinf(recording.begins):
                gevent.sleep(0.2)
        while time.time() < recording.ends:
            gevent.sleep(0.5)
            watch(recording)
        if target.workers:
            gevent.sleep(2 * WORKER_REPORT_INTERVAL)
        else:
            recording.cpu = {"here": journeys.run.meter.share()}
        deadline = time.time() + ANSWERS
        while runner.user_classes_count.get("Arrivals") and time.time() < deadline:
            gevent.sleep(0.1)
    return Outcome(
        recording,
        objectives.judge(recording, plan.objectives, {*stage.mix, *({"freshness"} if stage.shoppers else ())}),
        objectives.troubles(recording, plan.generator),
    )


@contextmanager
def _users(target: Target, stage: Stage, plan: Plan) -> Iterator[tuple[Any, Recording]]:
    """The stage's users at work; they go when the block is left."""
    logging.getLogger("locust").setLevel(logging.WARNING)
    journeys.Arrivals.fixed_count = streams = max(1, target.workers)
    classes = [*((*SHOPPERS, journeys.Probe) if stage.shoppers else ()), journeys.Arrivals]
    environment = Environment(
        user_classes=classes, host=target.host, events=locust.events, stop_timeout=2,
        parsed_options=get_parser(default_config_files=[]).parse_args([
            "--headless", "--steps", json.dumps(stage.steps), "--mix", json.dumps(stage.mix),
            "--streams", str(streams), "--warm-up", str(stage.warm_up), "--allow-remote", target.allowed,
            "--own-after", str(plan.panels.own_after),
        ]),
    )  # fmt: skip
    with _runner(environment, target.workers) as runner:
        people = stage.shoppers + bool(stage.shoppers) + streams
        runner.start(people, spawn_rate=people)
        try:
            with gevent.Timeout(CONNECTED, NotStarted(f"the users were not there within {CONNECTED:.0f} s")):
                while runner.state != STATE_RUNNING:
                    gevent.sleep(0.1)
            yield runner, journeys.run.recording
        finally:
            runner.stop()


@contextmanager
def _runner(environment: Environment, workers: int) -> Iterator[Any]:
    """Locust's runner: local, or a master with so many worker processes on this machine."""
    if not workers:
        local = environment.create_local_runner()
        try:
            yield local
        finally:
            local.quit()
        return
    runner = environment.create_master_runner("127.0.0.1", _free_port())
    command = [sys.executable, "-m", "locust", "-f", journeys.__file__, "--worker", "--loglevel", "WARNING",
               "--master-host", "127.0.0.1", "--master-port", str(runner.master_bind_port)]  # fmt: skip
    processes = [subprocess.Popen(command, cwd=Path(journeys.__file__).parents[1]) for _ in range(workers)]
    try:
        with gevent.Timeout(CONNECTED, NotStarted(f"not all of {workers} workers came within {CONNECTED:.0f} s")):
            while len(runner.clients.ready) < workers:
                gevent.sleep(0.1)
        yield runner
    finally:
        runner.quit()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Tried:
    """One rate of a search."""

    rate: float
    outcome: Outcome

    @property
    def held(self) -> bool:
        return not self.outcome.missed and not self.outcome.troubles


def find_breakpoint(target: Target, plan: Plan, tell: Callable[[Tried], None] = lambda _: None) -> list[Tried]:
    """Try rates, doubled until one does not hold twice, then halved in between, in the order tried."""
    tried: list[Tried] = []

    def holds(rate: float) -> bool:
        step = Stage("", [(rate, plan.breakpoint.seconds)], plan.breakpoint.warm_up, 0, plan.mix)
        for _ in range(2):  # once may be a neighbour's doing
            tried.append(Tried(rate, run(target, step, plan)))
            tell(tried[-1])
            if tried[-1].held:
                return True
        return False

    low, high = 0.0, plan.breakpoint.least
    while high <= plan.breakpoint.most and holds(high):
        low, high = high, high * 2
    while low and high <= plan.breakpoint.most and high / low > CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return tried
