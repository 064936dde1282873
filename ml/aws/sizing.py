"""Inference Recommender: SageMaker's own load tests of a registered model on instances that it starts and pays out of.

Default lets AWS choose instance types (done within 45 minutes); Advanced tries those named, with the numbers of server
workers given, under a load that grows. Reference: CreateInferenceRecommendationsJob in the SageMaker API.
"""

import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.aws.client import AwsError, Tell, clear, instance, polls, sagemaker, stamp
from ml.aws.objects import write
from ml.contract import CONTENT_TYPE

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        CreateInferenceRecommendationsJobRequestTypeDef,
        RecommendationJobInputConfigTypeDef,
    )

WORKERS = "SAGEMAKER_MODEL_SERVER_WORKERS"
ADVANCED_SECONDS = 7_200  # the job's own limit
STEP_SECONDS, STEPS, USERS_A_STEP = 120, 5, 3  # a load test: 3 users more every two minutes
TESTS, PARALLEL_TESTS = 10, 2
PATIENCE_SECONDS = 4 * 3_600.0  # instances must be had before a job's own clock starts


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What one configuration did. ``latency`` is the API's ModelLatency as it came: its unit is documented as
    milliseconds, while AWS's published sample can only be microseconds."""

    instance_type: str
    instances: int
    settings: Mapping[str, str]
    cost_per_hour: float  # US dollars
    cost_per_call: float  # US dollars
    calls_per_minute: int
    latency: int


def request_default(package: str, role: str, payload_url: str) -> str:
    """Ask which instance types suit a registered model. Returns the job's name. Raises AwsError."""
    return _request(
        {"JobName": _name(), "JobType": "Default", "RoleArn": role, "InputConfig": _input(package, payload_url)}
    )


def request_advanced(
    package: str, role: str, payload_url: str, *, instance_types: Sequence[str], workers: Sequence[int],
    calls_per_minute: int, latency_ms: int,
) -> str:  # fmt: skip
    """Load-test a registered model on these instance types with these numbers of workers. Returns the job's name.

    A test stops at ``calls_per_minute``, or once the 99th percentile passes ``latency_ms``. Raises AwsError.
    """
    tried = {"CategoricalParameterRanges": [{"Name": WORKERS, "Value": [str(number) for number in workers]}]}
    configured = [{"InstanceType": instance(name), "EnvironmentParameterRanges": tried} for name in instance_types]
    stairs = {"DurationInSeconds": STEP_SECONDS, "NumberOfSteps": STEPS, "UsersPerStep": USERS_A_STEP}
    more: RecommendationJobInputConfigTypeDef = {
        "JobDurationInSeconds": ADVANCED_SECONDS,
        "TrafficPattern": {"TrafficType": "STAIRS", "Stairs": stairs},  # type: ignore[typeddict-item]
        "ResourceLimit": {"MaxNumberOfTests": TESTS, "MaxParallelOfTests": PARALLEL_TESTS},
        "EndpointConfigurations": configured,  # type: ignore[typeddict-item]
    }
    return _request(
        {
            "JobName": _name(),
            "JobType": "Advanced",
            "RoleArn": role,
            "InputConfig": {**_input(package, payload_url), **more},
            "StoppingConditions": {
                "MaxInvocations": calls_per_minute,
                "ModelLatencyThresholds": [{"Percentile": "P99", "ValueInMilliseconds": latency_ms}],
                "FlatInvocations": "Stop",  # more users bring no more calls: the instance is full
            },
        }
    )


def wait(name: str, tell: Tell) -> list[Recommendation]:
    """Return what was found when the job has completed, the cheapest call first. Raises AwsError if it does not."""
    deadline, told = time.monotonic() + PATIENCE_SECONDS, ""
    for _ in polls():
        with clear(f"looking at the recommendations job {name}"):
            job = sagemaker().describe_inference_recommendations_job(JobName=name)
        status = job["Status"]
        if status != told:
            tell(told := status)
        if status == "COMPLETED":
            return _recommendations(job.get("InferenceRecommendations", []))
        if status in {"FAILED", "STOPPED", "DELETED"}:
            raise AwsError(f"the recommendations job {name} ended as {status}: {job.get('FailureReason', 'no reason')}")
        if time.monotonic() > deadline:
            raise AwsError(f"the recommendations job {name} is still {status}; look at it in SageMaker")
    raise AssertionError("unreachable")


def upload_payload(url: str, requests: Sequence[bytes]) -> None:
    """Put sample requests where the load tests take them from: one .tar.gz, a file a request. Raises AwsError."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for number, body in enumerate(requests):
            entry = tarfile.TarInfo(f"request-{number:03}.json")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    write(url, packed.getvalue())


def _name() -> str:
    return f"aisle-{stamp()}"


def _input(package: str, payload_url: str) -> "RecommendationJobInputConfigTypeDef":
    payload = {"SamplePayloadUrl": payload_url, "SupportedContentTypes": [CONTENT_TYPE]}
    container = {"Domain": "MACHINE_LEARNING", "Task": "OTHER", "PayloadConfig": payload}
    return {"ModelPackageVersionArn": package, "ContainerConfig": container}  # type: ignore[typeddict-item]


def _request(request: "CreateInferenceRecommendationsJobRequestTypeDef") -> str:
    with clear("requesting recommendations of instances"):
        sagemaker().create_inference_recommendations_job(**request)
    return request["JobName"]


def _recommendations(found: Sequence[object]) -> list[Recommendation]:
    made = []
    for each in found:
        metrics, configuration = each["Metrics"], each["EndpointConfiguration"]  # type: ignore[index]
        parameters = each["ModelConfiguration"].get("EnvironmentParameters", [])  # type: ignore[index]
        made.append(
            Recommendation(
                instance_type=configuration.get("InstanceType", "serverless"),
                instances=configuration.get("InitialInstanceCount", 1),
                settings={parameter["Key"]: parameter["Value"] for parameter in parameters},
                cost_per_hour=metrics["CostPerHour"],
                cost_per_call=metrics["CostPerInference"],
                calls_per_minute=metrics["MaxInvocations"],
                latency=metrics["ModelLatency"],
            )
        )
    return sorted(made, key=lambda each: each.cost_per_call)
