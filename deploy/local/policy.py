"""How calls move from one fleet to the next: UpdateEndpoint's DeploymentConfig, checked as SageMaker checks it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

EXECUTION_SECONDS = 1_800.0  # MaximumExecutionTimeoutInSeconds, where none is given; SageMaker's own is not documented


class BadPolicy(ValueError):
    """A deployment that SageMaker would refuse; the text names the field."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The new fleet's share of calls step by step, ending with 1, and how long each but the last is watched.

    ``keep``: seconds that the old fleet stays beside the new one, watched too. ``alarms``: any of them takes it back.
    """

    steps: tuple[float, ...] = (1.0,)
    bake: float = 0.0
    keep: float = 0.0
    limit: float = EXECUTION_SECONDS
    alarms: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> "Policy":
        """Raises BadPolicy."""
        if not config:
            return AT_ONCE
        if "RollingUpdatePolicy" in config:
            raise BadPolicy("RollingUpdatePolicy: the local cloud updates blue/green only")
        blue_green = config.get("BlueGreenUpdatePolicy")
        if not blue_green:
            raise BadPolicy("BlueGreenUpdatePolicy: must be given")
        routing = blue_green["TrafficRoutingConfiguration"]
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        policy = cls(
            steps=_steps(routing),
            bake=float(routing["WaitIntervalInSeconds"]),
            keep=float(blue_green.get("TerminationWaitInSeconds", 0)),
            limit=float(blue_green.get("MaximumExecutionTimeoutInSeconds", EXECUTION_SECONDS)),
            alarms=tuple(alarm["AlarmName"] for alarm in alarms),
        )
        if policy.limit <= policy.bake * (len(policy.steps) - 1) + policy.keep:
            raise BadPolicy("MaximumExecutionTimeoutInSeconds: must be more than all waits together")
        return policy


AT_ONCE = Policy()


def _steps(routing: Mapping[str, Any]) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    if kind == "CANARY":
        return (_share(routing, "CanarySize", 1), 1.0)
    step = _share(routing, "LinearStepSize", 10)
    return (*takewhile(lambda share: share < 1.0, (step * number for number in count(1))), 1.0)


def _share(routing: Mapping[str, Any], field: str, least: int) -> float:
    size = routing.get(field) or {}
    if size.get("Type") != "CAPACITY_PERCENT":
        raise BadPolicy(f"{field}: the local cloud knows CAPACITY_PERCENT only")
    if not least <= size["Value"] <= 50:
        raise BadPolicy(f"{field}: must be {least} to 50 percent")
    return float(size["Value"]) / 100
