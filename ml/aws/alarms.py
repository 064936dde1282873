"""CloudWatch alarms that take a new model back, on the endpoint's own metrics and on what the canary's questions found.

Each is on the new fleet alone (dimension EndpointConfigName), so that what the old one does cannot condemn the new
one. A configuration's alarms stay while it serves, as alarms of the running service, and go with it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.aws.client import clear, cloudwatch
from ml.aws.configurations import VARIANT, prefix

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef

NAMESPACE = "Aisle"
BAD_ANSWERS = "BadAnswers"
DESCRIPTION = "Takes a new model back; made by python -m ml deploy"
LATENCY_MS = 1_000.0  # shops give up after 3 s
PERIOD_SECONDS = 60  # the resolution of SageMaker's own metrics
# Errors are 0 or 1 for each call, so their average is a share. An average never exceeds 1: no threshold of 1 here.
MOST_ERRORS = 0.01
MOST_DELETED = 100  # alarms in one request
MOST_BAD_ANSWERS = 2  # in a minute, of several questions a second


@dataclass(frozen=True, slots=True)
class Alarm:
    name: str
    state: str
    reason: str


def create(endpoint: str, config_name: str, latency_ms: float = LATENCY_MS) -> list[str]:
    """Make a configuration's alarms. Returns their names. Raises AwsError.

    ``latency_ms``: the longest that the slowest hundredth of calls may take within the model.
    """
    fleet = {"EndpointName": endpoint, "VariantName": VARIANT, "EndpointConfigName": config_name}
    wanted: dict[str, dict[str, Any]] = {
        "latency": _on("AWS/SageMaker", "ModelLatency", fleet, latency_ms * 1_000, ExtendedStatistic="p99"),
        "errors": _on("AWS/SageMaker", "Invocation5XXErrors", fleet, MOST_ERRORS, Statistic="Average"),
        # Also refusals, cut connections and calls that timed out, which are neither 4XX nor 5XX.
        "failures": _on("AWS/SageMaker", "InvocationModelErrors", fleet, MOST_ERRORS, Statistic="Average"),
        "quality": _on(
            NAMESPACE, BAD_ANSWERS, _quality(endpoint, config_name), MOST_BAD_ANSWERS, Statistic="Sum"
        ),
    }  # fmt: skip
    with clear(f"making the alarms of {config_name}"):
        for what, request in wanted.items():
            cloudwatch().put_metric_alarm(AlarmName=f"{config_name}-{what}", **request)
    return [f"{config_name}-{what}" for what in wanted]


def of(config_name: str) -> list[Alarm]:
    """A configuration's alarms. Raises AwsError."""
    with clear(f"looking at the alarms of {config_name}"):
        found = cloudwatch().describe_alarms(AlarmNamePrefix=f"{config_name}-")["MetricAlarms"]
    return [Alarm(each["AlarmName"], each["StateValue"], each.get("StateReason", "")) for each in found]


def keep_only(endpoint: str, config_name: str = "") -> int:
    """Remove what this module made for the endpoint's other configurations. Returns how many. Raises AwsError."""
    with clear(f"removing old alarms of {endpoint}"):
        pages = cloudwatch().get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix(endpoint))
        made = [each for page in pages for each in page["MetricAlarms"] if each.get("AlarmDescription") == DESCRIPTION]
        old = [each["AlarmName"] for each in made if _is_of(each, endpoint) and not _is_of(each, endpoint, config_name)]
        for start in range(0, len(old), MOST_DELETED):
            cloudwatch().delete_alarms(AlarmNames=old[start : start + MOST_DELETED])
    return len(old)


def _is_of(alarm: Any, endpoint: str, config_name: str | None = None) -> bool:
    """By what the alarm watches: a name's beginning may be another endpoint's too."""
    watched = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    return watched.get("EndpointName") == endpoint and config_name in (None, watched.get("EndpointConfigName"))


def raise_one(config_name: str, why: str) -> None:
    """Set one of a configuration's alarms off by hand, which ends its deployment. Raises AwsError."""
    with clear(f"setting off an alarm of {config_name}"):
        cloudwatch().set_alarm_state(AlarmName=f"{config_name}-quality", StateValue="ALARM", StateReason=why)


def count_bad_answers(endpoint: str, config_name: str, bad: int) -> None:
    """Publish how many of the latest questions were answered badly. Raises AwsError."""
    of_fleet = _dimensions(_quality(endpoint, config_name))
    with clear("publishing the quality of answers"):
        cloudwatch().put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[{"MetricName": BAD_ANSWERS, "Dimensions": of_fleet, "Value": bad, "Unit": "Count"}],
        )


def _quality(endpoint: str, config_name: str) -> dict[str, str]:
    return {"EndpointName": endpoint, "EndpointConfigName": config_name}


def _dimensions(named: dict[str, str]) -> "list[DimensionTypeDef]":
    return [{"Name": name, "Value": value} for name, value in named.items()]


def _on(namespace: str, metric: str, dimensions: dict[str, str], threshold: float, **statistic: str) -> dict[str, Any]:
    return {
        "AlarmDescription": DESCRIPTION,
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": _dimensions(dimensions),
        **statistic,
        "Period": PERIOD_SECONDS,
        "EvaluationPeriods": 1,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",  # no calls, no harm: a quiet night must not take a model back
    }
