"""The AWS/SageMaker metrics of endpoints, summed in memory and put into moto's CloudWatch every few seconds."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.utils import utcnow

NAMESPACE = "AWS/SageMaker"
MICROSECONDS = "Microseconds"


@dataclass(slots=True)
class Statistics:
    """What CloudWatch calls a statistic set."""

    count: int = 0
    total: float = 0.0
    least: float = field(default=float("inf"))
    most: float = field(default=float("-inf"))

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def shown(self) -> Mapping[str, float]:
        return {"SampleCount": self.count, "Sum": self.total, "Minimum": self.least, "Maximum": self.most}


class Metrics:
    """Sums since the last flush. ``add`` and ``flush`` are called in one thread, the data plane's."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], dict[tuple[str, str], Statistics]] = {}

    def add(
        self, region: str, endpoint: str, variant: str, *, status: int, model_seconds: float, overhead_seconds: float
    ) -> None:
        """Count one call; ``status`` is the container's, 0 if it did not answer."""
        sums = self._sums.setdefault((region, endpoint, variant), defaultdict(Statistics))
        sums["Invocations", "None"].add(1)
        sums["InvocationsPerInstance", "None"].add(1)
        sums["Invocation4XXErrors", "None"].add(400 <= status < 500)
        sums["Invocation5XXErrors", "None"].add(status >= 500)
        sums["InvocationModelErrors", "None"].add(not 200 <= status < 300)
        sums["ModelLatency", MICROSECONDS].add(model_seconds * 1e6)
        sums["OverheadLatency", MICROSECONDS].add(overhead_seconds * 1e6)

    def flush(self) -> None:
        """Put the sums into CloudWatch, dated now."""
        taken, self._sums = self._sums, {}
        now = utcnow()
        for (region, endpoint, variant), sums in taken.items():
            dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
            cloudwatch_backends[ACCOUNT][region].put_metric_data(
                NAMESPACE,
                [
                    {
                        "MetricName": name,
                        "Dimensions": dimensions,
                        "Timestamp": now,
                        "Unit": unit,
                        "StatisticValues": statistics.shown(),
                    }
                    for (name, unit), statistics in sums.items()
                ],
            )
