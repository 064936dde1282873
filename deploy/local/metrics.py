"""CloudWatch's metrics of endpoints, as SageMaker publishes them, and what of them moto cannot compute.

Each call counts twice: for its variant, and for its variant under the configuration that answered it, by which alarms
tell a new fleet from the old. Values are summed in memory and put into moto every few seconds (SageMaker: a minute).
"""

import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.utils import utcnow

NAMESPACE = "AWS/SageMaker"
MICROSECONDS = "Microseconds"
COUNT = "None"
STEP = 1.01  # values are kept to one percent, so that percentiles need no list of every call

Dimensions = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Statistics:
    """What CloudWatch calls a statistic set, and how its values are spread."""

    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    spread: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        self.spread[round(math.log(value, STEP)) if value > 0 else -1_000_000] += 1


class Spread(MetricAggregatedDatum):
    """A statistic set in moto's list that can tell percentiles, and that is found by its own dimensions only."""

    def __init__(self, name: str, unit: str, dimensions: Dimensions, statistics: Statistics) -> None:
        super().__init__(
            namespace=NAMESPACE,
            name=name,
            min_stat=statistics.least,
            max_stat=statistics.most,
            sample_count=statistics.count,
            sum_stat=statistics.total,
            dimensions=[{"Name": name, "Value": value} for name, value in dimensions],
            timestamp=utcnow(),
            unit=unit,
        )
        self.spread = statistics.spread

    def filter(
        self, namespace: str | None, name: str | None, dimensions: Any, already_present_metrics: Any = None
    ) -> bool:
        """moto would count a metric with three dimensions among those with two of them; listing may."""
        found = super().filter(namespace, name, dimensions, already_present_metrics)
        listing = already_present_metrics is not None
        return found and (listing or not dimensions or len(dimensions) == len(self.dimensions))


class Metrics:
    """Sums since the last flush. ``add`` and ``flush`` are called in one thread, the data plane's."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, Dimensions], dict[tuple[str, str], Statistics]] = {}

    def add(
        self, region: str, endpoint: str, config: str, variant: str, *,
        instances: int, status: int, model_seconds: float, overhead_seconds: float, in_flight: int,
    ) -> None:  # fmt: skip
        """Count one call; ``status`` is the container's, 0 if it did not answer."""
        values = {
            ("Invocations", COUNT): 1,
            ("InvocationsPerInstance", COUNT): 1 / max(1, instances),
            ("Invocation4XXErrors", COUNT): 400 <= status < 500,
            ("Invocation5XXErrors", COUNT): status >= 500,
            ("InvocationModelErrors", COUNT): not 200 <= status < 300,
            ("ModelLatency", MICROSECONDS): model_seconds * 1e6,
            ("OverheadLatency", MICROSECONDS): overhead_seconds * 1e6,
            ("ConcurrentRequestsPerModel", COUNT): in_flight,
        }
        of_variant: Dimensions = (("EndpointName", endpoint), ("VariantName", variant))
        for dimensions in (of_variant, (*of_variant, ("EndpointConfigName", config))):
            sums = self._sums.setdefault((region, dimensions), defaultdict(Statistics))
            for name, value in values.items():
                sums[name].add(value)

    def flush(self) -> None:
        """Put the sums into CloudWatch, dated now."""
        taken, self._sums = self._sums, {}
        for (region, dimensions), sums in taken.items():
            backend = cloudwatch_backends[ACCOUNT][region]
            backend.metric_data.extend(
                Spread(name, unit, dimensions, statistics) for (name, unit), statistics in sums.items()
            )


def statistic(
    backend: CloudWatchBackend, namespace: str, name: str, dimensions: Mapping[str, str],
    since: datetime.datetime, until: datetime.datetime, what: str,
) -> float | None:  # fmt: skip
    """One statistic of a metric between two times (UTC, without zone), ``p99`` too; None if it has no values there."""
    found = list(_data(backend, namespace, name, dimensions, since, until))
    spread: Counter[float] = Counter()
    for each in found:
        spread.update(_values(each))
    count = sum(each.sample_count if isinstance(each, MetricAggregatedDatum) else 1 for each in found)
    if not count:
        return None
    total = sum(each.sum if isinstance(each, MetricAggregatedDatum) else each.value for each in found)
    if what.startswith("p"):
        return _percentile(spread, float(what[1:]))
    return float({
        "SampleCount": count,
        "Sum": total,
        "Average": total / count,
        "Minimum": min(each.min if isinstance(each, MetricAggregatedDatum) else each.value for each in found),
        "Maximum": max(each.max if isinstance(each, MetricAggregatedDatum) else each.value for each in found),
    }[what])  # fmt: skip


def _data(
    backend: CloudWatchBackend, namespace: str, name: str, dimensions: Mapping[str, str],
    since: datetime.datetime, until: datetime.datetime,
) -> Iterator[Any]:  # fmt: skip
    late = since - datetime.timedelta(minutes=5)  # what comes later may be dated earlier, by so much
    for datum in reversed(backend.metric_data):
        stamp = datum.timestamp.replace(tzinfo=None)
        if stamp < late:
            return
        if (
            since < stamp <= until
            and (datum.namespace, datum.name) == (namespace, name)
            and {each.name: each.value for each in datum.dimensions} == dict(dimensions)
        ):
            yield datum


def _values(datum: Any) -> Mapping[float, int]:
    if isinstance(datum, Spread):
        return {STEP**power if power > -1_000_000 else 0.0: count for power, count in datum.spread.items()}
    if isinstance(datum, MetricAggregatedDatum):  # from another's PutMetricData: CloudWatch has no percentiles of it
        return {}
    return {datum.value: 1}


def _percentile(spread: Mapping[float, int], percent: float) -> float | None:
    rank = math.ceil(sum(spread.values()) * percent / 100)
    for value in sorted(spread):
        rank -= spread[value]
        if rank <= 0:
            return value
    return None
