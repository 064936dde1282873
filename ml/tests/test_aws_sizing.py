"""Inference Recommender: both requests as botocore's own model reads them, and what comes of a job."""

import io
import tarfile
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from ml.__main__ import main
from ml.aws import sizing
from ml.aws.client import AwsError
from ml.tests.names import ARN, NOW, ROLE

PAYLOAD = "s3://aisle/rightsize/payload.tar.gz"
INPUT: dict[str, Any] = {
    "ModelPackageVersionArn": ARN,
    "ContainerConfig": {
        "Domain": "MACHINE_LEARNING",
        "Task": "OTHER",
        "PayloadConfig": {"SamplePayloadUrl": PAYLOAD, "SupportedContentTypes": ["application/json"]},
    },
}
CREATED = {"JobArn": "arn:aws:sagemaker:eu-west-1:123456789012:inference-recommendations-job/aisle-1"}


def described(status: str, **more: Any) -> dict[str, Any]:
    return {
        "JobName": "aisle-1", "JobType": "Default", "JobArn": CREATED["JobArn"], "RoleArn": ROLE, "Status": status,
        "CreationTime": NOW, "LastModifiedTime": NOW, "InputConfig": {"ModelPackageVersionArn": ARN}, **more,
    }  # fmt: skip


def recommended(instance_type: str, dollars: float, settings: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "RecommendationId": f"aisle-1/{instance_type}",
        "Metrics": {
            "CostPerHour": 0.1, "CostPerInference": dollars, "MaxInvocations": 29_000, "ModelLatency": 3_100,
        },
        "EndpointConfiguration": {
            "EndpointName": "sm-1", "VariantName": "sm-1", "InstanceType": instance_type, "InitialInstanceCount": 1,
        },
        "ModelConfiguration": {"EnvironmentParameters": settings} if settings else {},
    }  # fmt: skip


WORKERS_2 = [{"Key": sizing.WORKERS, "ValueType": "string", "Value": "2"}]


def test_a_default_job_names_the_package_and_the_payload(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "create_inference_recommendations_job",
        CREATED,
        {"JobName": ANY, "JobType": "Default", "RoleArn": ROLE, "InputConfig": INPUT},
    )
    assert sizing.request_default(ARN, ROLE, PAYLOAD).startswith("aisle-")


def test_an_advanced_job_tries_each_instance_type_with_each_number_of_workers(sagemaker: Stubber) -> None:
    tried = {"CategoricalParameterRanges": [{"Name": "SAGEMAKER_MODEL_SERVER_WORKERS", "Value": ["1", "2"]}]}
    sagemaker.add_response(
        "create_inference_recommendations_job",
        CREATED,
        {
            "JobName": ANY,
            "JobType": "Advanced",
            "RoleArn": ROLE,
            "InputConfig": {
                **INPUT,
                "JobDurationInSeconds": 7200,
                "TrafficPattern": {
                    "TrafficType": "STAIRS",
                    "Stairs": {"DurationInSeconds": 120, "NumberOfSteps": 5, "UsersPerStep": 3},
                },
                "ResourceLimit": {"MaxNumberOfTests": 10, "MaxParallelOfTests": 2},
                "EndpointConfigurations": [
                    {"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": tried},
                    {"InstanceType": "ml.c6i.large", "EnvironmentParameterRanges": tried},
                ],
            },
            "StoppingConditions": {
                "MaxInvocations": 30_000,
                "ModelLatencyThresholds": [{"Percentile": "P99", "ValueInMilliseconds": 500}],
                "FlatInvocations": "Stop",
            },
        },
    )
    sizing.request_advanced(
        ARN, ROLE, PAYLOAD, instance_types=["ml.c5.large", "ml.c6i.large"], workers=[1, 2],
        calls_per_minute=30_000, latency_ms=500,
    )  # fmt: skip


def test_the_cheapest_call_comes_first(sagemaker: Stubber) -> None:
    found = [recommended("ml.m5.large", 3e-6, []), recommended("ml.c6i.large", 1e-6, WORKERS_2)]
    for answer in (described("PENDING"), described("COMPLETED", InferenceRecommendations=found)):
        sagemaker.add_response("describe_inference_recommendations_job", answer, {"JobName": "aisle-1"})
    told: list[str] = []

    best, other = sizing.wait("aisle-1", told.append)

    assert (best.instance_type, best.settings) == ("ml.c6i.large", {sizing.WORKERS: "2"})
    assert best.cost_per_call == pytest.approx(1e-6)
    assert (best.calls_per_minute, best.latency) == (29_000, 3_100)
    assert (other.instance_type, other.settings) == ("ml.m5.large", {})
    assert told == ["PENDING", "COMPLETED"]


def test_a_job_that_failed_says_why(sagemaker: Stubber) -> None:
    answer = described("FAILED", FailureReason="the payload could not be read")
    sagemaker.add_response("describe_inference_recommendations_job", answer, {"JobName": "aisle-1"})
    with pytest.raises(AwsError, match="ended as FAILED: the payload could not be read"):
        sizing.wait("aisle-1", lambda _: None)


def test_the_payload_is_one_archive_with_a_file_a_request(s3: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(sizing, "write", lambda url, body: sent.append(body))
    sizing.upload_payload(PAYLOAD, [b'{"a": 1}', b'{"b": 2}'])
    with tarfile.open(fileobj=io.BytesIO(sent[0]), mode="r:gz") as archive:
        found = [file.read() for name in archive.getnames() if (file := archive.extractfile(name))]
    assert found == [b'{"a": 1}', b'{"b": 2}']


def test_the_verb_uploads_requests_asks_and_prints_what_was_found(
    sagemaker: Stubber, s3: Stubber, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.add_response(
        "put_object", {},
        {"Bucket": "aisle", "Key": "rightsize/payload.tar.gz", "Body": ANY, "ContentType": "application/gzip"},
    )  # fmt: skip
    sagemaker.add_response("create_inference_recommendations_job", CREATED, {
        "JobName": ANY, "JobType": "Default", "RoleArn": ROLE, "InputConfig": INPUT,
    })  # fmt: skip
    answer = described("COMPLETED", InferenceRecommendations=[recommended("ml.c6i.large", 8e-6, WORKERS_2)])
    sagemaker.add_response("describe_inference_recommendations_job", answer, {"JobName": ANY})

    assert main(["rightsize", ARN, "--role", ROLE, "--image", "aisle-model"]) == 0

    printed = capsys.readouterr().out
    assert "ml.c6i.large" in printed
    assert "1.000" in printed  # dollars a million queries: eight travel in a call
