"""CloudWatch alarms that go off. moto keeps them and never looks at a metric.

A period here is the last so many seconds, not a whole minute of the clock, so an alarm may go off a little earlier than
on AWS. Alarms on expressions and composite alarms stay as they are, and no alarm's actions are run.
"""

import datetime
import json
import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.utils import utcnow

from deploy.local.metrics import statistic

COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}

log = logging.getLogger("deploy.local")


def fired(region: str, names: Sequence[str], since: datetime.datetime) -> str | None:
    """Why a deployment that began then must end: an alarm of these is in ALARM, or was meanwhile."""
    alarms = cloudwatch_backends[ACCOUNT][region].alarms
    for name in names:
        alarm = alarms.get(name)
        if alarm is None:
            return f"the alarm {name} does not exist"
        if alarm.state_value == "ALARM":
            return f"the alarm {name} is in ALARM: {alarm.state_reason}"
        for _, reason, _, state, updated in alarm.history:
            if state == "ALARM" and updated >= since:
                return f"the alarm {name} was in ALARM: {reason}"
    return None


def look() -> None:
    """Evaluate every alarm of every region."""
    for _, backend in list(cloudwatch_backends[ACCOUNT].items()):
        for alarm in list(backend.alarms.values()):
            _look(backend, alarm)


def _look(backend: CloudWatchBackend, alarm: Alarm) -> None:
    if alarm.rule or alarm.metric_data_queries or alarm.comparison_operator not in COMPARISONS:
        return
    state, reason, data = evaluate(backend, alarm, utcnow())
    if state != alarm.state_value:
        log.info("alarm %s: %s, %s", alarm.name, state, reason)
        alarm.update_state(reason, json.dumps(data), state)


def evaluate(backend: CloudWatchBackend, alarm: Any, now: datetime.datetime) -> tuple[str, str, dict[str, Any]]:
    """An alarm's state now, why, and the data points that it saw, newest first."""
    period = datetime.timedelta(seconds=int(alarm.period))
    what = alarm.extended_statistic or alarm.statistic
    dimensions = {each.name: each.value for each in alarm.dimensions}
    seen = [
        statistic(backend, alarm.namespace, alarm.metric_name, dimensions, until - period, until, what)
        for until in (now - period * back for back in range(int(alarm.evaluation_periods)))
    ]
    data = {
        "statistic": what,
        "period": int(alarm.period),
        "recentDatapoints": seen,
        "threshold": float(alarm.threshold),
    }
    there = [value for value in seen if value is not None]
    missing = alarm.treat_missing_data or "missing"
    if not there:
        return {
            "breaching": ("ALARM", "no data points were received, which is treated as breaching", data),
            "notBreaching": ("OK", "no data points were received, which is treated as not breaching", data),
            "ignore": (alarm.state_value, alarm.state_reason, data),
        }.get(missing, ("INSUFFICIENT_DATA", "Insufficient Data: no data points were received", data))
    breaches, words = COMPARISONS[alarm.comparison_operator]
    over = [value for value in there if breaches(value, float(alarm.threshold))]
    count = len(over) + (len(seen) - len(there) if missing == "breaching" else 0)
    if count >= int(alarm.datapoints_to_alarm or alarm.evaluation_periods):
        shown = ", ".join(f"{value:g}" for value in over)
        return "ALARM", f"Threshold Crossed: {count} datapoint(s) [{shown}] {words} {alarm.threshold:g}", data
    return "OK", f"Threshold not crossed: {count} datapoint(s) {words} {alarm.threshold:g}", data
