"""Load tests that engineers can trust: open-loop arrivals, judged objectives, faults, reports, comparisons.

    python -m loadtests run average            one stage of slo.toml against the running demo, judged, with a report
    python -m loadtests breakpoint             the highest rate that still holds the objectives
    python -m loadtests faults                 a stack of its own, broken part by part under load
    python -m loadtests compare A.json B.json  is B slower than A, or is it noise?
    python -m loadtests report RUN.json        the HTML report again
    python -m loadtests table [FILES]          the README's tables, from results

Latency counts from the moment a request should have begun, not from when it could (no coordinated omission). A run in
which the generator itself was too slow is invalid and blames nobody.
Exit code: 0 held, 1 an objective missed, 2 invalid or not possible.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # noqa: F401  # isort: skip

import argparse
import os
import sys
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests import addresses, plan, results, stages
from loadtests.recording import Recording
from loadtests.stages import Target

HELD, MISSED, INVALID = 0, 1, 2
console = Console(highlight=False, soft_wrap=True)


def run(arguments: argparse.Namespace) -> int:
    wanted = plan.read(arguments.slo)
    if arguments.stage not in wanted.stages:
        raise plan.BadPlan(f"there is no stage {arguments.stage!r}; there are {', '.join(wanted.stages)}")
    stage, target = wanted.stages[arguments.stage], _target(arguments)
    console.print(f"[bold]{arguments.stage}[/]: {stage.about}; {target.host}")
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[news]}"),
        console=console, auto_refresh=False,
    ) as progress:  # fmt: skip
        bar = progress.add_task("warming up", total=stage.warm_up + stage.seconds, news="")

        def watch(recording: Recording) -> None:
            done, news = _news(recording, stage.warm_up)
            progress.update(bar, completed=done, news=news, description="measuring", refresh=True)

        outcome = stages.run(target, stage, wanted, watch)
    result = results.made("run", target.host, stage=arguments.stage, **outcome.shown())
    path = results.save(result, arguments.output)
    _judged(outcome)
    console.print(f"{path}")
    return INVALID if outcome.troubles else MISSED if outcome.missed else HELD


def _news(recording: Recording, warm_up: float) -> tuple[float, str]:
    import time

    done = warm_up + time.time() - recording.begins
    failed = sum(counts.total() for counts in recording.failures.values())
    return done, f"{recording.count():,} requests, {failed:,} failed"


def _judged(outcome: stages.Outcome) -> None:
    for trouble in outcome.troubles:
        console.print(f"[yellow]invalid[/] {trouble}")
    for verdict in outcome.verdicts:
        console.print(f"{'[green]held[/]  ' if verdict.held else '[red]missed[/]'} {verdict}")
    for path, counts in outcome.recording.failures.items():
        for message, count in counts.most_common(3):
            console.print(f"[red]{count:5d}[/] {path}: {message}", markup=True)


def _target(arguments: argparse.Namespace) -> Target:
    addresses.check(arguments.host, arguments.allow_remote)
    try:
        urllib.request.urlopen(f"{arguments.host}/healthz", timeout=5).close()
    except (OSError, ValueError) as error:
        raise NoShop(f"no shop answers at {arguments.host} ({error}): start one with `make demo`") from None
    return Target(arguments.host, arguments.allow_remote, arguments.workers)


class NoShop(Exception):
    """Nobody answers there."""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")

    aimed = argparse.ArgumentParser(add_help=False)
    demo = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
    aimed.add_argument("--host", default=demo, help="where the shop is (default: %(default)s)")
    aimed.add_argument("--allow-remote", default="", metavar="HOST", help="a host, not this machine, that you may load")
    aimed.add_argument("--workers", type=int, default=0, help="generate from so many processes (default: this one)")
    aimed.add_argument("--slo", type=Path, default=plan.FILE, help="objectives and stages (default: slo.toml here)")
    aimed.add_argument("--output", type=Path, help="the result's file (default: a new one in results/)")

    verb = verbs.add_parser("run", parents=[aimed], help="one stage, judged")
    verb.add_argument("stage", nargs="?", default="average", help="of slo.toml (default: %(default)s)")
    verb.set_defaults(act=run)

    arguments = parser.parse_args(words)
    try:
        return int(arguments.act(arguments))
    except (addresses.NotAllowed, plan.BadPlan, NoShop, stages.NotStarted, ValueError) as error:
        print(f"loadtests: {error}", file=sys.stderr)
        return INVALID


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
