"""The endpoint: what it serves, moving it to another model by a canary, waiting until that has ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ml.aws.client import AwsError, Tell, clear, is_missing, polls, sagemaker
from ml.aws.configurations import packages_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DeploymentConfigTypeDef, DescribeEndpointOutputTypeDef

ENDPOINT_SECONDS = 3_600.0  # to start and to stop containers, apart from what a rollout waits on purpose
LEAST_EXECUTION_SECONDS = 600  # AWS allows MaximumExecutionTimeoutInSeconds from here
STARTING_SECONDS = 1_800  # allowed to both fleets' starts and ends within that


@dataclass(frozen=True, slots=True)
class Rollout:
    """How calls move to a new model: so many percent of the capacity, then wait, then all, then wait again."""

    canary_percentage: int
    bake_seconds: int
    keep_seconds: int  # that the old fleet stays beside the new one, so that rolling back is instant


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant as it stands. ``stage`` is AWS's word while it is being changed, else empty."""

    name: str
    weight: float
    instances: int
    wanted: int
    shadow: bool = False
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it stands. ``packages`` are the model packages that its configuration serves."""

    name: str
    status: str
    config_name: str
    changed: datetime
    failure: str
    variants: tuple[Variant, ...]
    packages: tuple[str, ...]
    pending: str = ""  # the configuration that it is moving to
    pending_packages: tuple[str, ...] = ()
    pending_variants: tuple[Variant, ...] = ()
    last_rollout: dict[str, Any] = field(default_factory=dict)  # DeploymentConfig


def standing(endpoint: str) -> str:
    """The configuration that an endpoint serves, "" if there is none to keep. Raises AwsError if it is being changed.

    A failed endpoint serves nothing, and all that AWS allows of it is to be deleted: so it is.
    """
    with clear(f"looking at the endpoint {endpoint}"):
        found = _described(endpoint)
        if found and found["EndpointStatus"] not in {"InService", "Failed"}:
            raise AwsError(f"the endpoint {endpoint} is {found['EndpointStatus']}; wait until it is in service")
        if found and found["EndpointStatus"] == "Failed":
            _delete(endpoint, lambda status: None)
            return ""
    return found["EndpointConfigName"] if found else ""


def delete(endpoint: str, tell: Tell) -> bool:
    """Return when there is no endpoint of that name; whether there was one. Raises AwsError."""
    with clear(f"deleting the endpoint {endpoint}"):
        if _described(endpoint) is None:
            return False
        _delete(endpoint, tell)
    return True


def create(endpoint: str, config_name: str) -> None:
    """Make the endpoint. Raises AwsError."""
    with clear(f"creating the endpoint {endpoint}"):
        sagemaker().create_endpoint(EndpointName=endpoint, EndpointConfigName=config_name)


def update(
    endpoint: str, config_name: str, rollout: Rollout | None, alarms: Sequence[str], *, keep_count: bool = False
) -> None:
    """Begin to move the endpoint; any of ``alarms`` takes it back. Without a rollout it moves at once.

    ``keep_count``: autoscaling owns the number of instances, so the configuration's own number does not apply.
    Raises AwsError.
    """
    request: dict[str, Any] = {"EndpointName": endpoint, "EndpointConfigName": config_name}
    if rollout:
        request["DeploymentConfig"] = deployment_config(rollout, alarms)
    if keep_count:
        excluded = [{"VariantPropertyType": kind} for kind in ("DesiredWeight", "DataCaptureConfig")]
        request |= {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
    with clear(f"moving the endpoint {endpoint}"):
        sagemaker().update_endpoint(**request)


def deployment_config(rollout: Rollout, alarms: Sequence[str]) -> "DeploymentConfigTypeDef":
    """A rollout in AWS's words."""
    waits = rollout.bake_seconds + rollout.keep_seconds
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": rollout.canary_percentage},
                "WaitIntervalInSeconds": rollout.bake_seconds,
            },
            "TerminationWaitInSeconds": rollout.keep_seconds,
            "MaximumExecutionTimeoutInSeconds": max(LEAST_EXECUTION_SECONDS, waits + STARTING_SECONDS),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


def wait(endpoint: str, config_name: str, tell: Tell, longest: float = ENDPOINT_SECONDS) -> None:
    """Return when the endpoint serves that configuration. Raises AwsError if it failed or was rolled back."""
    deadline = time.monotonic() + longest
    told = ""
    for _ in polls():
        with clear(f"looking at the endpoint {endpoint}"):
            found = sagemaker().describe_endpoint(EndpointName=endpoint)
        status, reason = found["EndpointStatus"], found.get("FailureReason", "no reason given")
        stage = " ".join([status, *(each.stage for each in _pending(found) if each.stage)])
        if stage != told:
            tell(stage)
            told = stage
        if status == "InService":
            # SageMaker rolls a bad update back and is in service again: only the configuration's name tells.
            if found["EndpointConfigName"] != config_name:
                raise AwsError(f"the endpoint {endpoint} was rolled back to {found['EndpointConfigName']}: {reason}")
            return
        if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
            raise AwsError(f"the endpoint {endpoint} is {status}: {reason}")
        if time.monotonic() > deadline:
            raise AwsError(f"the endpoint {endpoint} is still {status} after {longest / 60:.0f} minutes")


def status(endpoint: str) -> Endpoint | None:
    """What an endpoint serves; None if there is none of that name. Raises AwsError."""
    with clear(f"looking at the endpoint {endpoint}"):
        found = _described(endpoint)
        if found is None:
            return None
        pending = found.get("PendingDeploymentSummary", {}).get("EndpointConfigName", "")
        return Endpoint(
            name=endpoint,
            status=found["EndpointStatus"],
            config_name=found["EndpointConfigName"],
            changed=found["LastModifiedTime"],
            failure=found.get("FailureReason", ""),
            variants=_variants(found),
            packages=packages_of(found["EndpointConfigName"]),
            pending=pending,
            pending_packages=packages_of(pending) if pending else (),
            pending_variants=_pending(found),
            last_rollout=dict(found.get("LastDeploymentConfig", {})),
        )


def _described(endpoint: str) -> "DescribeEndpointOutputTypeDef | None":
    try:
        return sagemaker().describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def _delete(endpoint: str, tell: Tell) -> None:
    sagemaker().delete_endpoint(EndpointName=endpoint)
    told = ""
    for _ in polls():
        found = _described(endpoint)
        if found is None:
            return
        if found["EndpointStatus"] != told:
            told = found["EndpointStatus"]
            tell(told)


def _pending(found: Any) -> tuple[Variant, ...]:
    return _variants(found.get("PendingDeploymentSummary", {}))


def _variants(found: Any) -> tuple[Variant, ...]:
    """Of an endpoint, or of the deployment that is under way."""
    return tuple(
        Variant(
            name=each["VariantName"],
            weight=each.get("CurrentWeight", 0.0),
            instances=each.get("CurrentInstanceCount", 0),
            wanted=each.get("DesiredInstanceCount", 0),
            shadow=kind.startswith("Shadow"),
            stage=" ".join(step["Status"] for step in each.get("VariantStatus", [])),
        )
        for kind in ("ProductionVariants", "ShadowProductionVariants")
        for each in found.get(kind, [])
    )
