"""Autoscaling: as many instances as the calls of a minute need, by Application Auto Scaling's target tracking."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ml.aws.client import autoscaling, clear
from ml.aws.configurations import VARIANT

NAMESPACE: Final = "sagemaker"
DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
OUT_SECONDS, IN_SECONDS = 60, 300  # cooldowns: be quick to help and slow to leave


@dataclass(frozen=True, slots=True)
class Scaling:
    """Between how many instances, and at how many calls a minute for each."""

    least: int
    most: int
    calls_per_minute: float
    paused: bool = False


def register(endpoint: str, scaling: Scaling) -> None:
    """Scale the endpoint from now on. Raises AwsError."""
    with clear(f"setting up the autoscaling of {endpoint}"):
        autoscaling().register_scalable_target(
            **_target(endpoint),
            MinCapacity=scaling.least,
            MaxCapacity=scaling.most,
            SuspendedState=_suspended(False),
        )
        autoscaling().put_scaling_policy(
            PolicyName=f"{endpoint}-calls",
            **_target(endpoint),
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": scaling.calls_per_minute,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
                "ScaleOutCooldown": OUT_SECONDS,
                "ScaleInCooldown": IN_SECONDS,
            },
        )  # fmt: skip


def deregister(endpoint: str) -> None:
    """Scale no more, if it did; AWS deletes the policy with its target. Raises AwsError."""
    with clear(f"ending the autoscaling of {endpoint}"):
        if _targets(endpoint):
            autoscaling().deregister_scalable_target(**_target(endpoint))


def of(endpoint: str) -> Scaling | None:
    """How an endpoint scales, None if it does not. Raises AwsError."""
    with clear(f"looking at the autoscaling of {endpoint}"):
        targets = _targets(endpoint)
        if not targets:
            return None
        resource = _target(endpoint)["ResourceId"]
        policies = autoscaling().describe_scaling_policies(ServiceNamespace=NAMESPACE, ResourceId=resource)
    tracked = [each["TargetTrackingScalingPolicyConfiguration"] for each in policies["ScalingPolicies"]]
    return Scaling(
        least=targets[0]["MinCapacity"],
        most=targets[0]["MaxCapacity"],
        calls_per_minute=tracked[0]["TargetValue"] if tracked else 0.0,
        paused=any(targets[0].get("SuspendedState", {}).values()),
    )


@contextmanager
def paused(endpoint: str) -> Iterator[bool]:
    """Neither add nor remove instances meanwhile, for two fleets are up. Yields whether the endpoint scales at all."""
    scales = of(endpoint) is not None
    if scales:
        _suspend(endpoint, True)
    try:
        yield scales
    finally:
        if scales:
            _suspend(endpoint, False)


def _suspend(endpoint: str, suspended: bool) -> None:
    with clear(f"{'pausing' if suspended else 'resuming'} the autoscaling of {endpoint}"):
        autoscaling().register_scalable_target(**_target(endpoint), SuspendedState=_suspended(suspended))


def _suspended(suspended: bool) -> dict[str, bool]:
    kinds = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    return dict.fromkeys(kinds, suspended)


def _targets(endpoint: str) -> list[Any]:
    resource = _target(endpoint)["ResourceId"]
    found = autoscaling().describe_scalable_targets(ServiceNamespace=NAMESPACE, ResourceIds=[resource])
    return list(found["ScalableTargets"])


def _target(endpoint: str) -> dict[str, str]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }
