"""A run's result as one HTML file: no script, no request to anywhere, plots as inline SVG."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from loadtests.histogram import Histogram, merged, middle
from loadtests.objectives import Verdict
from loadtests.recording import Recording

WIDTH, HEIGHT, LEFT, BELOW = 720, 190, 56, 22
SHARES = ((0.5, "p50", "#2a6f4e"), (0.95, "p95", "#c07a12"), (0.99, "p99", "#a3262a"))
NO_ANSWERS = {"probe", "freshness"}  # not what a shopper waits for
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2321;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.15rem .8rem .15rem 0;text-align:right}
td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #999}.bad{color:#a3262a;font-weight:600}
svg{display:block;margin:.5rem 0 1.5rem}svg text{font:12px system-ui,sans-serif;fill:#444}code{font-size:90%}
"""


def html(result: Mapping[str, Any]) -> str:
    recording = Recording.read(result["recording"])
    verdicts = [Verdict(*each) for each in result["objectives"]]
    parts = [
        f"<h1>Load test: {escape(result['stage'])}</h1>",
        f"<p>{escape(result['made'])} · {escape(result['host'])} · commit <code>{escape(result['commit'])}</code><br>"
        f"{escape(result['machine'])}<br>{escape(', '.join(f'{k} {v}' for k, v in result['versions'].items()))}</p>",
        _outcome(result, verdicts),
        "<h2>Latency by path</h2><p>Milliseconds, from the intended start for open-loop arrivals.</p>",
        _paths(recording),
        "<h2>Latency, all requests</h2>", _bars(merged(_measured(recording))),
        "<h2>Percentiles over time</h2>", _curves(recording),
        "<h2>Where the time goes</h2>", _split(recording, result.get("split", {})),
        "<h2>Panels</h2>", _sources(recording),
        "<h2>Failures</h2>", _failures(recording),
        f"<h2>The generator</h2><p>Began requests late by {_ms(recording.late.percentile(0.99))} ms (p99), "
        f"{_ms(recording.late.most)} ms at most; CPU of a core: "
        f"{escape(', '.join(f'{share:.0%}' for share in recording.cpu.values())) or 'not known'}.</p>",
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Load test: {escape(result["stage"])}'
        f"</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _outcome(result: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    missed = [verdict for verdict in verdicts if not verdict.held]
    lines = [f'<li class="bad">invalid: {escape(trouble)}</li>' for trouble in result["troubles"]]
    lines += [f'<li class="bad">missed: {escape(str(verdict))}</li>' for verdict in missed]
    return f"<p>{len(verdicts) - len(missed)} of {len(verdicts)} objectives held.</p><ul>{''.join(lines)}</ul>"


def _paths(recording: Recording) -> str:
    rows = []
    for path in sorted(recording.paths):
        latency, failed = recording.latency(path), recording.failures[path].total()
        rows.append(
            [path, f"{latency.count:,}", f"{latency.count / recording.seconds:.1f}",
             *(_ms(latency.percentile(share)) for share, _, _ in SHARES), _ms(latency.most), f"{failed:,}"]
        )  # fmt: skip
    return _table(["path", "requests", "per second", "p50", "p95", "p99", "most", "failed"], rows)


def _split(recording: Recording, split: Mapping[str, Any]) -> str:
    """A waterfall of each path's means, then what runs behind the page."""
    text = ""
    for path, steps in sorted(recording.split.items()):
        bars = [("seen by the client", recording.latency(path).mean)]
        bars += [(f"server: {step}", one.mean) for step, one in steps.items()]
        text += f"<h3>{escape(path)}</h3>{_waterfall(bars)}"
    text = text or "<p>Server-Timing: not reported by this server.</p>"
    metrics, cloud = split.get("metrics", "not asked"), split.get("cloudwatch", "not asked")
    behind = []
    if isinstance(metrics, Mapping):
        behind = [
            [name, f"{one['count']:,.0f}", *(_ms(one[share]) for share in ("p50", "p95", "p99"))]
            for name, one in metrics["histograms"].items()
        ]
    text += (
        "<h3>Behind the page</h3><p>Percentiles from <code>/metrics</code> before and after, by its buckets; ms.</p>"
    )
    text += _table(["", "count", "p50", "p95", "p99"], behind) if behind else f"<p>{escape(str(metrics))}</p>"
    text += "<h3>The endpoint's own account</h3>"
    if not isinstance(cloud, Mapping):
        return f"{text}<p>{escape(str(cloud))}</p>"
    calls = max((one["calls"] for one in cloud.values()), default=0)
    bars = [("invocation, seen by the caller", one) for one in _invocations(recording, metrics)]
    bars += [(name, one["mean"]) for name, one in cloud.items()]
    return f"{text}<p>CloudWatch, {calls:,.0f} calls in the run's minutes; means.</p>{_waterfall(bars)}"


def _invocations(recording: Recording, metrics: Any) -> list[float]:
    """Mean seconds of the load test's own calls, else the workers', where there were any."""
    if "invocation" in recording.paths:
        return [recording.latency("invocation").mean]
    histograms = metrics["histograms"] if isinstance(metrics, Mapping) else {}
    return [one["mean"] for name, one in histograms.items() if "invocation" in name]


def _sources(recording: Recording) -> str:
    known, others = recording.sources, recording.strangers
    kinds = sorted({kind for counts in (*known.values(), *others.values()) for kind in counts})
    rows = []
    for path in sorted(known.keys() | others.keys()):
        for who, counts in (("known", known.get(path)), ("strangers", others.get(path))):
            if counts:
                shares = (f"{counts[kind] / counts.total():.1%}" for kind in kinds)
                rows.append([path, who, f"{counts.total():,}", *shares])
    told = (
        "Objectives are of known shoppers: those who signed in or, with their consent, reported a first event at least "
        f"{recording.own_after:g} s before. Strangers are meant to see what everybody likes."
    )
    return f"<p>{told}</p>{_table(['path', 'shoppers', 'panels', *kinds], rows)}"


def _failures(recording: Recording) -> str:
    rows = [
        [path, message, f"{count:,}"]
        for path, counts in sorted(recording.failures.items())
        for message, count in counts.most_common(5)
    ]
    return _table(["path", "what", "times"], rows) if rows else "<p>None.</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _measured(recording: Recording) -> list[Histogram]:
    return [recording.latency(path) for path in recording.paths if path not in NO_ANSWERS]


def _bars(histogram: Histogram) -> str:
    """Counts over the logarithm of the latency, ten bars to a factor of ten."""
    bars: Counter[int] = Counter()
    for bucket, count in histogram.buckets.items():
        bars[math.floor(math.log10(middle(bucket)) * 10)] += count
    if not bars:
        return "<p>Nothing was measured.</p>"
    least, most, highest = min(bars), max(bars), max(bars.values())
    wide = (WIDTH - LEFT) / (most - least + 1)
    shapes = [f'<text x="0" y="12">{highest:,}</text>']
    for place, count in bars.items():
        tall = (HEIGHT - BELOW) * count / highest
        shapes.append(
            f'<rect x="{LEFT + (place - least) * wide:.1f}" y="{HEIGHT - BELOW - tall:.1f}" width="{wide - 1:.1f}" '
            f'height="{tall:.1f}" fill="#2a6f4e"><title>{_ms(10 ** (place / 10))} ms: {count:,}</title></rect>'
        )
    for place in (place for place in range(least, most + 1) if place % 5 == 0):
        at = LEFT + (place - least) * wide
        shapes.append(f'<text x="{at:.1f}" y="{HEIGHT - 5}">{_ms(10 ** (place / 10))} ms</text>')
    return _svg(f"Histogram of {histogram.count:,} latencies", HEIGHT, shapes)


def _curves(recording: Recording) -> str:
    by_interval: dict[int, Histogram] = {}
    for path in recording.paths.keys() - NO_ANSWERS:
        for interval, one in recording.paths[path].items():
            by_interval.setdefault(interval, Histogram()).merge(one)
    if not by_interval:
        return "<p>Nothing was measured.</p>"
    top, last = max(one.percentile(0.99) for one in by_interval.values()), max(*by_interval, 1)
    shapes = [
        f'<text x="0" y="12">{_ms(top)} ms</text>', f'<text x="{LEFT}" y="{HEIGHT - 5}">0 s</text>',
        f'<text x="{WIDTH - 60}" y="{HEIGHT - 5}">{last * recording.width:.0f} s</text>',
    ]  # fmt: skip
    for number, (share, name, colour) in enumerate(SHARES):
        points = " ".join(
            f"{LEFT + (WIDTH - LEFT - 5) * interval / last:.1f},"
            f"{(HEIGHT - BELOW) * (1 - one.percentile(share) / top):.1f}"
            for interval, one in sorted(by_interval.items())
        )
        shapes.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        shapes.append(f'<text x="{LEFT + 80 + 60 * number}" y="{HEIGHT - 5}" style="fill:{colour}">{name}</text>')
    return _svg("p50, p95 and p99 of all requests over time", HEIGHT, shapes)


def _waterfall(bars: Sequence[tuple[str, float]]) -> str:
    longest = max((seconds for _, seconds in bars if not math.isnan(seconds)), default=0.0) or 1.0
    shapes = []
    for number, (name, seconds) in enumerate(bars):
        wide = 0.0 if math.isnan(seconds) else (WIDTH - 330) * seconds / longest
        shapes += [
            f'<text x="0" y="{number * 22 + 14}">{escape(name)}</text>',
            f'<rect x="240" y="{number * 22 + 3}" width="{max(wide, 1):.1f}" height="14" fill="#2a6f4e"/>',
            f'<text x="{246 + wide:.1f}" y="{number * 22 + 14}">{_ms(seconds)} ms</text>',
        ]
    return _svg("Mean durations", 22 * len(bars), shapes)


def _svg(title: str, height: int, shapes: Iterable[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg {size} role="img"><title>{escape(title)}</title>{"".join(shapes)}</svg>'


def _ms(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:,.0f}"
