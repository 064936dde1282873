"""Load tests that engineers can trust: open-loop arrivals, judged objectives, faults, reports, comparisons.

    python -m loadtests run average            one stage of slo.toml against the running demo, judged, with a report
    python -m loadtests breakpoint             the highest rate that still holds the objectives
    python -m loadtests faults                 a stack of its own, broken part by part under load
    python -m loadtests compare A.json B.json  is B slower than A, or is it noise?
    python -m loadtests report RUN.json        the HTML report again
    python -m loadtests table [FILE…]          the README's tables, from results

Latency counts from the moment a request should have begun, not from when it could (no coordinated omission). A run in
which the generator itself was too slow is invalid and blames nobody.
Exit code: 0 held, 1 an objective missed, 2 invalid or not possible.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # noqa: F401  # isort: skip

import argparse
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from loadtests import addresses, compare, faults, plan, report, results, split, stages, tables
from loadtests.observed import Observed
from loadtests.recording import Recording
from loadtests.stack import NoStack, Stack
from loadtests.stages import Outcome, Target, Tried

HELD, MISSED, INVALID = 0, 1, 2
console = Console(highlight=False, soft_wrap=True)


class NoShop(Exception):
    """Nobody answers there."""


def run(arguments: argparse.Namespace) -> int:
    wanted, target = plan.read(arguments.slo), _target(arguments)
    if arguments.stage not in wanted.stages:
        raise plan.BadPlan(f"there is no stage {arguments.stage!r}; there are {', '.join(wanted.stages)}")
    stage = wanted.stages[arguments.stage]
    console.print(f"[bold]{arguments.stage}[/]: {stage.about}; {target.host}")
    before = split.scrape(target.host)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[news]}"))
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("signing in", total=stage.warm_up + stage.seconds, news="")

        def watch(recording: Recording) -> None:
            failed = sum(counts.total() for counts in recording.failures.values())
            progress.update(
                bar, completed=stage.warm_up + time.time() - recording.begins, refresh=True,
                description="measuring" if time.time() > recording.begins else "warming up",
                news=f"{recording.count():,} requests, {failed:,} failed",
            )  # fmt: skip

        outcome = stages.run(target, stage, wanted, watch)
    recording = outcome.recording
    accounts = {
        "metrics": split.between(before, split.scrape(target.host)),
        "cloudwatch": split.cloudwatch(recording.begins, recording.ends, target.allowed),
    }
    result = results.made("run", target.host, stage=arguments.stage, **outcome.shown(), split=accounts)
    path = results.save(result, arguments.output)
    page = path.with_suffix(".html")
    page.write_text(report.html(result))
    _judged(outcome)
    console.print(f"{path}\n{page}")
    return INVALID if outcome.troubles else MISSED if outcome.missed else HELD


def find_breakpoint(arguments: argparse.Namespace) -> int:
    wanted, target = plan.read(arguments.slo), _target(arguments)

    def tell(tried: Tried) -> None:
        verdict = "[green]held[/]" if tried.held else f"[red]did not hold[/]: {_why(tried.outcome)}"
        console.print(f"{tried.rate:6.0f} requests/s {verdict}")

    tried = stages.find_breakpoint(target, wanted, tell)
    held = [each.rate for each in tried if each.held]
    shown = [{"rate": each.rate, "held": each.held, "why": _why(each.outcome)} for each in tried]
    highest = max(held, default=None)
    path = results.save(
        results.made("breakpoint", target.host, highest=highest, tried=shown, mix=wanted.mix), arguments.output
    )
    if any(each.outcome.troubles for each in tried if each.rate > (highest or 0)):
        console.print("[yellow]the generator, not the shop, may be what ended the search[/]: try --workers")
    console.print(f"the highest rate that held: {highest or 'none'} requests/s\n{path}")
    return HELD if held else MISSED


def break_things(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INVALID))  # so that the stack ends with it
    promised = plan.read(arguments.slo).faults

    def tell(observed: Observed) -> None:
        broken = observed.broken(promised)
        verdict = f"[red]broken[/] {'; '.join(broken)}" if broken else "[green]kept[/]"
        recovered = "" if observed.recovery is None else f", recovered in {observed.recovery:.1f} s"
        console.print(f"{observed.name}: {verdict}{recovered}")

    with Stack(lambda news: console.print(f"[dim]{news}[/]")) as stack:
        left_out = "" if stack.postgres else "PostgreSQL restarted: left out, this machine has no PostgreSQL server"
        found = faults.run(stack, promised, tell)
    cases = [each.shown() for each in found]
    result = results.made("faults", stack.host, cases=cases, left_out=left_out)
    path = results.save(result, arguments.output)
    console.print(tables.markdown(result), path, sep="\n", markup=False)
    return MISSED if any(each.broken(promised) for each in found) else HELD


def compare_two(arguments: argparse.Namespace) -> int:
    before, after = (results.load(path) for path in (arguments.before, arguments.after))
    if before["kind"] != "run" or after["kind"] != "run":
        raise ValueError("only runs of a stage can be compared")
    for doubt in compare.doubts(before, after):
        console.print(f"[yellow]beware[/] {doubt}")
    table = Table("path", "", "A, ms", "B, ms", "B ÷ A", "99 % of draws", "verdict")
    found = compare.compare(*(Recording.read(each["recording"]) for each in (before, after)))
    for one in found:
        table.add_row(
            one.path, f"p{one.share * 100:.0f}", f"{one.before * 1e3:.3g}", f"{one.after * 1e3:.3g}",
            f"{one.ratio:.2f}", f"{one.low:.2f} to {one.high:.2f}", one.verdict,
        )  # fmt: skip
    console.print(table)
    console.print(f"[dim]{compare.__doc__.partition('Method: ')[2] if compare.__doc__ else ''}[/]")
    return MISSED if any(one.verdict == "slower" for one in found) else HELD


def report_again(arguments: argparse.Namespace) -> int:
    result = results.load(arguments.result)
    if result["kind"] != "run":
        raise ValueError("only the run of a stage has a report; `table` shows the others")
    page = arguments.result.with_suffix(".html")
    page.write_text(report.html(result))
    console.print(page)
    return HELD


def table(arguments: argparse.Namespace) -> int:
    kept = [path for name in tables.QUOTED if (path := results.RESULTS / name).exists()]
    for path in arguments.results or kept:
        print(tables.markdown(results.load(path)))
    return HELD


def _judged(outcome: Outcome) -> None:
    for trouble in outcome.troubles:
        console.print(f"[yellow]invalid[/] {trouble}")
    for verdict in outcome.verdicts:
        console.print(f"{'[green]held[/]  ' if verdict.held else '[red]missed[/]'} {verdict}")
    for path, counts in outcome.recording.failures.items():
        for message, count in counts.most_common(3):
            console.print(f"{count} × {path}: {message}", markup=False)


def _why(outcome: Outcome) -> str:
    return "; ".join([*outcome.troubles, *map(str, outcome.missed)])


def _target(arguments: argparse.Namespace) -> Target:
    host = arguments.host.rstrip("/")
    addresses.check(host, arguments.allow_remote)
    try:
        urllib.request.urlopen(f"{host}/healthz", timeout=5).close()
    except (OSError, ValueError) as error:
        raise NoShop(f"no shop answers at {host} ({error}): start one with `make demo`") from None
    return Target(host, arguments.allow_remote, arguments.workers)


def main(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.act(arguments))
    except (
        addresses.NotAllowed,
        plan.BadPlan,
        NoShop,
        NoStack,
        faults.NotCalm,
        stages.NotStarted,
        ValueError,
    ) as error:
        print(f"loadtests: {error}", file=sys.stderr)
        return INVALID


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    written = argparse.ArgumentParser(add_help=False)
    written.add_argument("--slo", type=Path, default=plan.FILE, help="objectives and stages (default: slo.toml here)")
    written.add_argument("--output", type=Path, help="the result's file (default: a new one in results/)")
    aimed = argparse.ArgumentParser(add_help=False, parents=[written])
    demo = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
    aimed.add_argument("--host", default=demo, help="where the shop is (default: %(default)s)")
    aimed.add_argument("--allow-remote", default="", metavar="HOST", help="a host, not this machine, that you may load")
    aimed.add_argument("--workers", type=int, default=0, help="generate from so many processes (default: this one)")

    verb = verbs.add_parser("run", parents=[aimed], help="one stage, judged")
    verb.add_argument("stage", nargs="?", default="average", help="of slo.toml (default: %(default)s)")
    verb.set_defaults(act=run)
    verb = verbs.add_parser("breakpoint", parents=[aimed], help="the highest rate that holds the objectives")
    verb.set_defaults(act=find_breakpoint)
    verb = verbs.add_parser("faults", parents=[written], help="break a stack of its own, part by part, under load")
    verb.set_defaults(act=break_things)
    verb = verbs.add_parser("compare", help="two runs: slower, faster, or noise")
    verb.add_argument("before", type=Path, metavar="A.json")
    verb.add_argument("after", type=Path, metavar="B.json")
    verb.set_defaults(act=compare_two)
    verb = verbs.add_parser("report", help="a run's HTML report, beside its JSON")
    verb.add_argument("result", type=Path, metavar="RUN.json")
    verb.set_defaults(act=report_again)
    verb = verbs.add_parser("table", help="Markdown tables (default: of the results that the README quotes)")
    verb.add_argument("results", type=Path, nargs="*", metavar="FILE")
    verb.set_defaults(act=table)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
