"""Every figure of the paths, in one go and one file: `make bench`.

    python -m loadtests.bench [web] [endpoint] [worker] [kernel] [--json FILE]

Without names all parts are measured. The kernel's figures are those of `python -m ml bench`. A part that fails costs
its own figures alone. Exits 1 if a figure misses what it must reach, or is missing.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests.bench.part import ROOT, BenchError
from loadtests.bench.stack import Stack
from loadtests.bench.targets import TARGETS, number

PARTS = ("web", "endpoint", "worker", "kernel")
RESULTS = ROOT / "loadtests" / "results" / "bench.json"
LONGEST = 660  # seconds of one part: the web's takes up to nine minutes where the machine never stays the same
LIBRARIES = ("django", "djangorestframework", "granian", "celery", "redis", "orjson", "boto3", "numpy", "numba")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="where to write (%(default)s)")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    parts = arguments.parts or PARTS
    console = Console(highlight=False)
    if arguments.json.exists():
        console.print(f"[yellow]{escape(replaced(arguments.json))}[/]")
    report: dict[str, Any] = {
        "kind": "bench", "made": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(),
        "commit": commit(), "versions": versions(),
    }  # fmt: skip
    figures: dict[str, float] = {}
    failed: dict[str, str] = {}
    started = time.monotonic()
    with console.status("starting") as status, Stack() as stack:
        for part in parts:
            stack.say = lambda text, part=part: status.update(f"{part}: {text}")  # type: ignore[misc]
            before = time.monotonic()
            try:
                figures |= measured(part, stack)
            except Exception as error:  # whatever it is, the other parts have figures to give
                failed[part] = f"{type(error).__name__}: {error}"
            finally:
                stack.clear()
            line = f"[red]✗[/] {part}: {escape(failed[part])}" if part in failed else f"[green]✓[/] {part}"
            console.print(f"{line}, {time.monotonic() - before:.0f} s")
    # A part that failed half-way has measured something before it did.
    figures = {key: statistics.median(runs) for key, runs in stack.runs.items()} | figures
    lacking = missing(parts, figures, stack.invalid, failed)
    report |= {"seconds": round(time.monotonic() - started), "figures": figures, "missing": lacking}
    report |= {"runs": stack.runs, "refused": stack.refused}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    console.print(table(figures, lacking))
    console.print(f"written to {arguments.json}")
    missed = any(not TARGETS[key].met(value) for key, value in figures.items() if key in TARGETS)
    return int(missed or bool(lacking or failed))


def replaced(file: Path) -> str:
    """What is lost when this file is written, which may be the result that a README quotes."""
    try:
        before = json.loads(file.read_text())
        what = f"the result of {before['made'][:10]}, commit {before['commit']}, {len(before['figures'])} figures"
    except (ValueError, KeyError, TypeError):
        what = "what it holds"
    return f"{file}: {what}, will be replaced"


def measured(part: str, stack: Stack) -> dict[str, float]:
    """A part's figures. Raises BenchError if they are not there after LONGEST seconds."""

    def late(*_: object) -> None:
        raise BenchError(f"not done after {LONGEST} s")

    stack.say("measuring")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        if part == "kernel":
            return kernel(stack)
        found: dict[str, float] = import_module(f"loadtests.bench.{part}").measure(stack)
        return found
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def missing(
    parts: Sequence[str], figures: dict[str, float], invalid: dict[str, str], failed: dict[str, str]
) -> dict[str, str]:
    """Figures that these parts owe, and why they are not there."""
    return {
        key: invalid.get(key) or failed.get(target.part) or f"{target.part} did not measure it"
        for key, target in TARGETS.items()
        if target.part in parts and key not in figures
    }


def kernel(stack: Stack) -> dict[str, float]:
    """The model's own bench, on the core of the server under test."""
    file = stack.folder / "kernel.json"
    stack.python("kernel", "-m", "ml", "bench", "--json", str(file), under_test=True).finish()
    figures: dict[str, float] = json.loads(file.read_text())["figures"]
    return figures


def machine() -> dict[str, Any]:
    """What the figures hold for. A load average above 0.5 at the start says that the machine was not theirs alone."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if "model name" in line), processor)
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def commit() -> str:
    """The checkout's commit, with "+" for changes not yet in it; "unknown" outside git."""
    try:
        head = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()  # noqa: S607
        changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT, text=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def table(figures: dict[str, float], lacking: dict[str, str]) -> Table:
    made = Table("figure", title="Aisle, everything on loopback")
    for column in ("measured", "must", "moonshot", ""):
        made.add_column(column, justify="right")
    for key, value in figures.items():
        target = TARGETS.get(key)
        if target is None:
            made.add_row(key, number(value))
            continue
        verdict = (
            "[green]moonshot[/]" if target.flown(value) else "[green]met[/]" if target.met(value) else "[red]missed[/]"
        )
        made.add_row(key, number(value), target.shown(target.must), target.shown(target.moonshot), verdict)
    for key, why in lacking.items():
        must, moonshot = (TARGETS[key].shown(limit) for limit in (TARGETS[key].must, TARGETS[key].moonshot))
        made.add_row(key, "missing", must, moonshot, f"[red]{escape(why)}[/]")
    return made


if __name__ == "__main__":
    sys.exit(main())
