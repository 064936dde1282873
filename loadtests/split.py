"""Where the time went: the server's own accounts beside the clients', joined for one run.

Three sources, each left out when there is none: Server-Timing headers of the answers that were measured, the
Prometheus counters of ``/metrics`` before and after, and CloudWatch's metrics of the endpoint.
"""

import math
import os
import re
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loadtests import addresses

NOT_REPORTED = "not reported by this server"
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
CLOUDWATCH = ("ModelLatency", "OverheadLatency")
MICROSECOND = 1e-6  # CloudWatch's unit for both
PUBLISHED = 6  # seconds after which the local stand-in has published

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(host: str) -> Samples | None:
    """``/metrics`` in Prometheus' text format, by name and labels; None where the shop has none."""
    try:
        bearer = {"Authorization": f"Bearer {token}"} if (token := os.environ.get("METRICS_TOKEN")) else {}
        with urllib.request.urlopen(urllib.request.Request(f"{host}/metrics", headers=bearer), timeout=5) as answer:
            return parse(answer.read().decode())
    except (OSError, ValueError):
        return None


def parse(text: str) -> Samples:
    return {(name, tuple(sorted(LABEL.findall(labels or "")))): float(value)
            for name, labels, value in SAMPLE.findall(text)}  # fmt: skip


def between(before: Samples | None, after: Samples | None) -> dict[str, Any] | str:
    """What counters and histograms grew by: {"name{labels}": growth} and percentiles of the histograms."""
    if before is None or after is None:
        return NOT_REPORTED
    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}
    counters = {_shown(*key): by for key, by in grown.items() if by > 0 and key[0].endswith("_total")}
    return {"counters": counters, "histograms": _histograms(grown)}


def _histograms(grown: Samples) -> dict[str, dict[str, float]]:
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for (name, labels), by in grown.items():
        if name.endswith("_bucket"):
            others = tuple(label for label in labels if label[0] != "le")
            buckets[_shown(name.removesuffix("_bucket"), others)][float(dict(labels)["le"])] = by
    sums = {_shown(name.removesuffix("_sum"), labels): by for (name, labels), by in grown.items()}
    return {
        name: {"count": count, "mean": sums.get(name, math.nan) / count}
        | {f"p{share}": quantile(ladder, share / 100) for share in (50, 95, 99)}
        for name, ladder in buckets.items()
        if (count := ladder[max(ladder)]) > 0
    }


def quantile(ladder: Mapping[float, float], share: float) -> float:
    """From cumulative buckets by upper edge, straight lines within them, as Prometheus does."""
    rank, low, below = share * ladder[max(ladder)], 0.0, 0.0
    for edge, upto in sorted(ladder.items()):
        if upto >= rank:
            if edge == float("inf") or upto == below:
                return low
            return low + (edge - low) * (rank - below) / (upto - below)
        low, below = edge, upto
    return low


def _shown(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    inside = ",".join(f"{key}={value}" for key, value in labels)
    return f"{name}{{{inside}}}" if inside else name


def cloudwatch(begins: float, ends: float, allowed: str = "") -> dict[str, Any] | str:
    """The endpoint's own account: mean and largest ModelLatency and OverheadLatency in seconds, and the calls.

    The local stand-in publishes every five seconds, AWS every minute: the edges of a short run are not sharp.
    """
    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2})
    try:
        client = boto3.session.Session().client("cloudwatch", config=config)
        addresses.check(client.meta.endpoint_url, allowed)
        return {name: _statistic(client, name, begins, ends) for name in CLOUDWATCH}
    except (addresses.NotAllowed, BotoCoreError, ClientError) as error:
        return f"no account from CloudWatch: {error}"


def _statistic(client: Any, name: str, begins: float, ends: float) -> dict[str, float]:
    """Of all the endpoint's variants together."""
    which = {"Name": "EndpointName", "Value": os.environ.get("RECOMMENDER_ENDPOINT", "aisle")}
    metrics = client.list_metrics(Namespace="AWS/SageMaker", MetricName=name, Dimensions=[which])["Metrics"]
    asked = [
        {"Id": f"{statistic.lower()}{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}
        for number, metric in enumerate(metrics)
        for statistic in ("Sum", "SampleCount", "Maximum")
    ]
    if not asked:
        return {"calls": 0, "mean": math.nan, "most": math.nan}
    found = client.get_metric_data(
        StartTime=datetime.fromtimestamp(begins, UTC),
        EndTime=datetime.fromtimestamp(ends, UTC) + timedelta(seconds=PUBLISHED),
        MetricDataQueries=asked,
    )["MetricDataResults"]
    values: defaultdict[str, list[float]] = defaultdict(list)
    for each in found:
        values[each["Id"].rstrip("0123456789")] += each["Values"]
    count, unit = sum(values["samplecount"]), MICROSECOND if name in CLOUDWATCH else 1.0
    return {
        "calls": count,
        "mean": sum(values["sum"]) * unit / count if count else math.nan,
        "most": max(values["maximum"], default=math.nan) * unit,
    }
