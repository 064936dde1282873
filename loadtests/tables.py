"""The README's tables in Markdown, made from results, so that no figure is typed by hand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loadtests.bench.targets import TARGETS, number
from loadtests.recording import Recording

QUOTED = ("bench.json", "average.json", "breakpoint.json", "faults.json")  # in results/, under version control

BESIDE = {
    "home_p99_ratio_to_floor": "p99 ÷ a perfect server's on this core, under the same arrivals",
    "home_p99_floor_ms": "the perfect server's",
    "home_utilisation_at_70pct": "of its core, by the server",
    "home_p99_ms_at_70pct_even": "at an even pace",
    "panel_api_p99_ratio_to_floor": "as above",
    "panel_api_p99_floor_ms": "as above",
    "panel_api_utilisation_at_500rps": "as above",
    "panel_api_p99_ms_at_500rps_even": "as above",
}


def markdown(result: Mapping[str, Any]) -> str:
    """A table of one result, of any kind, and the line that says where it was measured."""
    rows = {"bench": _bench, "run": _run, "breakpoint": _breakpoint, "faults": _faults}[result["kind"]](result)
    machine = result["machine"]
    if isinstance(machine, Mapping):
        machine = f"{machine['cores']} × {machine['processor']}, {machine['system']}"
        machine = f"{machine}, Python {result['versions']['python']}"
    where = f"{result['made'][:10]}, commit {result['commit']}, {machine}"
    return "\n".join([*_lines(rows), "", where, ""])


def _lines(rows: Iterable[Sequence[str]]) -> list[str]:
    head, *body = rows
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]


def _bench(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """What issue and README ask for, and what says how to take it; what else was measured stands in the file."""
    figures, missing = result["figures"], result["missing"]
    rows: list[Sequence[str]] = [["figure", "median", "runs", "must", "moonshot", ""]]
    for key, target in TARGETS.items():
        must, moonshot = target.shown(target.must), target.shown(target.moonshot)
        if key in figures:
            value = figures[key]
            verdict = "moonshot" if target.flown(value) else "met" if target.met(value) else "**missed**"
            rows.append([f"`{key}`", number(value), _span(result, key), must, moonshot, verdict])
        elif why := missing.get(key):
            rows.append([f"`{key}`", "missing", "", must, moonshot, why])
    for key, about in BESIDE.items():
        if key in figures:
            rows.append([f"`{key}`", number(figures[key]), _span(result, key), "", "", about])
    return rows


def _span(result: Mapping[str, Any], key: str) -> str:
    """The least and the most of the runs that a figure is the median of."""
    runs = result["runs"].get(key)
    return f"{number(min(runs))} to {number(max(runs))}" if runs else ""


def _run(result: Mapping[str, Any]) -> list[Sequence[str]]:
    recording = Recording.read(result["recording"])
    rows: list[Sequence[str]] = [[f"{result['stage']}, ms", "requests", "p50", "p95", "p99", "failed"]]
    for path in sorted({each[0] for each in result["objectives"]}):
        latency = recording.latency(path)
        times = [f"{latency.percentile(share) * 1e3:.3g}" for share in (0.5, 0.95, 0.99)]
        rows.append([path, f"{latency.count:,}", *times, f"{recording.failures[path].total():,}"])
    rows.append(["valid", "yes" if result["valid"] else "; ".join(result["troubles"]), "", "", "", ""])
    return rows


def _breakpoint(result: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [["requests/s", "held", "what ended it"]]
    for tried in result["tried"]:
        first, *others = tried["why"].split("; ")
        why = f"{first}, and {len(others)} more" if others else first
        rows.append([f"{tried['rate']:.0f}", "yes" if tried["held"] else "no", why])
    return rows


def _faults(result: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ["what was broken", "requests", "failed pages", "503 said", "panel missing, s", "events", "lost", "twice",
         "recovery, s"]
    ]  # fmt: skip
    for one in result["cases"]:
        recovery = "never" if one["recovery"] is None else f"{one['recovery']:.1f}"
        rows.append(
            [one["name"], f"{one['requests']:,}", f"{sum(one['failed'].values()):,}", f"{one['refused']:,}",
             f"{one['panel_missing']:.1f}", f"{one['events']:,}", f"{one['lost']:,}", f"{one['twice']:,}", recovery]
        )  # fmt: skip
    if left_out := result.get("left_out"):
        rows.append([left_out, *("" for _ in rows[0][1:])])
    return rows
