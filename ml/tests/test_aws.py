"""Each request to AWS as botocore's own model checks it, and each failure as one clear line."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from ml import aws
from ml.aws import AwsError

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/aisle/7"
ROLE = "arn:aws:iam::123456789012:role/aisle-sagemaker"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/aisle-model:1"
NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
JOB = aws.TrainedJob("aisle-1", "s3://aisle/models/aisle-1/output/model.tar.gz", {})


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "SHORTEST_POLL", 0.0)


@pytest.fixture
def sagemaker() -> Iterator[Stubber]:
    aws.sagemaker.cache_clear()
    with Stubber(aws.sagemaker()) as stub:
        yield stub
        stub.assert_no_pending_responses()
    aws.sagemaker.cache_clear()


@pytest.fixture
def s3() -> Iterator[Stubber]:
    aws.s3.cache_clear()
    with Stubber(aws.s3()) as stub:
        yield stub
        stub.assert_no_pending_responses()
    aws.s3.cache_clear()


# --- Training --------------------------------------------------------------------------------------------


def train(**changes: Any) -> str:
    request: dict[str, Any] = {
        "image": IMAGE,
        "role": ROLE,
        "export_url": "s3://aisle/export",
        "output_url": "s3://aisle/models/",
        "instance_type": "ml.m6i.xlarge",
        "hyperparameters": {"candidates": "50"},
        "metrics": [("novel:recall@20", "novel:recall@20=([0-9.]+)")],
        "max_seconds": 600,
    }
    return aws.train(**{**request, **changes})


def expected_training() -> dict[str, Any]:
    return {
        "TrainingJobName": ANY,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "novel:recall@20", "Regex": "novel:recall@20=([0-9.]+)"}],
        },
        "HyperParameters": {"candidates": "50"},
        "InputDataConfig": [
            {
                "ChannelName": "export",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://aisle/export/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://aisle/models"},
        "ResourceConfig": {"InstanceType": "ml.m6i.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def test_training_job_reads_the_export_and_knows_its_metrics(sagemaker: Stubber) -> None:
    sagemaker.add_response("create_training_job", {"TrainingJobArn": "arn:…"}, expected_training())
    name = train()

    assert name.startswith("aisle-2")
    assert name == name.lower()
    assert len(name) <= 63


def test_training_job_that_may_be_interrupted_keeps_checkpoints(sagemaker: Stubber) -> None:
    expected = {**expected_training(), "CheckpointConfig": {"S3Uri": "s3://aisle/checkpoints"}}
    sagemaker.add_response("create_training_job", {"TrainingJobArn": "arn:…"}, expected)
    train(checkpoint_url="s3://aisle/checkpoints")


def job(status: str, *steps: str, **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "aisle-1",
        "TrainingJobArn": "arn:…",
        "ModelArtifacts": {"S3ModelArtifacts": JOB.model_data_url},
        "TrainingJobStatus": status,
        "SecondaryStatus": steps[-1] if steps else status,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CreationTime": NOW,
        "SecondaryStatusTransitions": [
            {"Status": step, "StartTime": NOW, "StatusMessage": f"{step} now"} for step in steps
        ],
        **changes,
    }


def test_waiting_tells_each_step_once_and_returns_model_and_metrics(sagemaker: Stubber) -> None:
    final = [{"MetricName": "novel:recall@20", "Value": 0.25, "Timestamp": NOW}]
    for answer in (
        job("InProgress", "Starting"),
        job("InProgress", "Starting"),
        job("InProgress", "Starting", "Downloading", "Training"),
        job("Completed", "Starting", "Downloading", "Training", "Completed", FinalMetricDataList=final),
    ):
        sagemaker.add_response("describe_training_job", answer, {"TrainingJobName": "aisle-1"})
    told: list[str] = []
    done = aws.wait_for_training("aisle-1", told.append)

    assert [line.partition(":")[0] for line in told] == ["Starting", "Downloading", "Training", "Completed"]
    assert (done.model_data_url, done.metrics) == (JOB.model_data_url, {"novel:recall@20": 0.25})
    assert done.output_url == "s3://aisle/models/aisle-1/output"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            job("Failed", "Failed", FailureReason="AlgorithmError: events is empty"),
            "Failed: AlgorithmError: events is empty",
        ),
        (job("Stopped", "MaxRuntimeExceeded"), "Stopped: MaxRuntimeExceeded"),
    ],
)
def test_job_that_does_not_complete_is_an_error_with_its_reason(
    sagemaker: Stubber, answer: dict[str, Any], words: str
) -> None:
    sagemaker.add_response("describe_training_job", answer)
    with pytest.raises(AwsError, match=words):
        aws.wait_for_training("aisle-1", lambda text: None)


def test_job_that_never_ends_is_given_up_after_its_own_limit(
    sagemaker: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "UPLOAD_SECONDS", -601.0)
    sagemaker.add_response("describe_training_job", job("InProgress", "Training"))
    with pytest.raises(AwsError, match="still InProgress"):
        aws.wait_for_training("aisle-1", lambda text: None)


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def put_output(s3: Stubber, body: bytes) -> None:
    stream = StreamingBody(io.BytesIO(body), len(body))
    wanted = {"Bucket": "aisle", "Key": "models/aisle-1/output/output.tar.gz"}
    s3.add_response("get_object", {"Body": stream}, wanted)


def test_report_is_read_from_what_the_job_left(s3: Stubber) -> None:
    put_output(s3, packed("evaluation.json", b'{"novel": {"aisle": {"recall@20": 0.25}}}'))
    assert aws.evaluation(JOB) == {"novel": {"aisle": {"recall@20": 0.25}}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (packed("other.json", b"{}"), "holds no evaluation.json"),
        (packed("evaluation.json", b"{not json"), "no readable evaluation.json"),
        (packed("evaluation.json", b"{}"), "nothing was measured"),
        (b"no archive", "no readable evaluation.json"),
    ],
)
def test_report_that_is_none_is_an_error_and_never_a_pass(s3: Stubber, body: bytes, words: str) -> None:
    put_output(s3, body)
    with pytest.raises(AwsError, match=words):
        aws.evaluation(JOB)


def test_export_without_its_marker_costs_no_training(s3: Stubber) -> None:
    s3.add_client_error("head_object", "404", "Not Found", 404)
    with pytest.raises(AwsError, match="s3://aisle/export is no finished export: it has no _SUCCESS"):
        aws.require_export("s3://aisle/export", "_SUCCESS")


def test_export_that_may_not_be_read_says_so(s3: Stubber) -> None:
    s3.add_client_error("head_object", "403", "Forbidden", 403)
    with pytest.raises(AwsError, match="looking for the export s3://aisle/export: Forbidden"):
        aws.require_export("s3://aisle/export", "_SUCCESS")


# --- The registry ----------------------------------------------------------------------------------------


def expect_registration(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "create_model_package",
        {"ModelPackageArn": ARN},
        {
            "ModelPackageGroupName": "aisle",
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataUrl": JOB.model_data_url}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.c6i.large"],
            },
            "ModelMetrics": {
                "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://aisle/report.json"}}
            },
            "CustomerMetadataProperties": {"novel:recall@20": "0.2500"},
        },
    )


def register() -> str:
    return aws.register(
        "aisle",
        image=IMAGE,
        model_data_url=JOB.model_data_url,
        report_url="s3://aisle/report.json",
        metrics={"novel:recall@20": 0.25},
        instance_type="ml.c6i.large",
    )


def group() -> dict[str, Any]:
    return {
        "ModelPackageGroupName": "aisle",
        "ModelPackageGroupArn": "arn:…",
        "CreationTime": NOW,
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }


def test_first_model_makes_its_group(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(
        "describe_model_package_group", "ValidationException", "ModelPackageGroup arn:… does not exist."
    )
    sagemaker.add_response(
        "create_model_package_group",
        {"ModelPackageGroupArn": "arn:…"},
        {"ModelPackageGroupName": "aisle", "ModelPackageGroupDescription": ANY},
    )
    expect_registration(sagemaker)
    assert register() == ARN


def test_later_models_join_it(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_model_package_group", group(), {"ModelPackageGroupName": "aisle"})
    expect_registration(sagemaker)
    assert register() == ARN


def test_approval_says_why(sagemaker: Stubber) -> None:
    wanted = {"ModelPackageArn": ARN, "ModelApprovalStatus": "Approved", "ApprovalDescription": "because"}
    sagemaker.add_response("update_model_package", {"ModelPackageArn": ARN}, wanted)
    aws.approve(ARN, "because")


def expect_newest(sagemaker: Stubber, *arns: str) -> None:
    sagemaker.add_response("describe_model_package_group", group())
    summaries = [
        {"ModelPackageArn": arn, "ModelPackageVersion": 7, "CreationTime": NOW, "ModelPackageStatus": "Completed"}
        for arn in arns
    ]
    sagemaker.add_response(
        "list_model_packages",
        {"ModelPackageSummaryList": summaries},
        {
            "ModelPackageGroupName": "aisle",
            "ModelApprovalStatus": "Approved",
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 1,
        },
    )


def test_newest_approved_model_is_found(sagemaker: Stubber) -> None:
    expect_newest(sagemaker, ARN)
    assert aws.newest_approved("aisle") == ARN


def test_nothing_approved_says_what_to_do(sagemaker: Stubber) -> None:
    expect_newest(sagemaker)
    with pytest.raises(AwsError, match="aisle holds no approved model; run `python -m ml pipeline`"):
        aws.newest_approved("aisle")


# --- Endpoints -------------------------------------------------------------------------------------------


def endpoint(status: str, config: str = "old", **changes: Any) -> dict[str, Any]:
    return {
        "EndpointName": "aisle",
        "EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/aisle",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **changes,
    }


def expect_model_and_config(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "create_model",
        {"ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/x"},
        {"ModelName": ANY, "ExecutionRoleArn": ROLE, "Containers": [{"ModelPackageName": ARN}]},
    )
    sagemaker.add_response(
        "create_endpoint_config",
        {"EndpointConfigArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/x"},
        {
            "EndpointConfigName": ANY,
            "ProductionVariants": [
                {
                    "VariantName": "alltraffic",
                    "ModelName": ANY,
                    "InstanceType": "ml.c6i.large",
                    "InitialInstanceCount": 2,
                    "InitialVariantWeight": 1.0,
                }
            ],
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://aisle/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            },
        },
    )


def deploy(name: str = "aisle") -> str:
    return aws.deploy(
        ARN,
        endpoint=name,
        role=ROLE,
        instance_type="ml.c6i.large",
        instances=2,
        capture_url="s3://aisle/capture",
        capture_percentage=100,
    )


MISSING = ("describe_endpoint", "ValidationException", 'Could not find endpoint "arn:…".')
CHANGED = {"EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/aisle"}


def test_first_deployment_creates_the_endpoint(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    expect_model_and_config(sagemaker)
    sagemaker.add_response("create_endpoint", CHANGED, {"EndpointName": "aisle", "EndpointConfigName": ANY})
    assert deploy().startswith("aisle-7-2")


def test_later_deployments_update_it(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService"), {"EndpointName": "aisle"})
    expect_model_and_config(sagemaker)
    sagemaker.add_response("update_endpoint", CHANGED, {"EndpointName": "aisle", "EndpointConfigName": ANY})
    deploy()


def test_failed_endpoint_is_deleted_and_made_anew(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("Failed"))
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "aisle"})
    sagemaker.add_response("describe_endpoint", endpoint("Deleting"))
    sagemaker.add_client_error(*MISSING)
    expect_model_and_config(sagemaker)
    sagemaker.add_response("create_endpoint", CHANGED)
    deploy()


def test_endpoint_that_is_being_changed_is_left_alone(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("Updating"))
    with pytest.raises(AwsError, match="aisle is Updating; wait"):
        deploy()


def test_names_are_short_and_lower_case_whatever_the_endpoint_is_called(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    expect_model_and_config(sagemaker)
    sagemaker.add_response("create_endpoint", CHANGED)
    name = deploy("Recommender-" + "x" * 51)

    assert len(name) <= 63
    assert name == name.lower()


def wait(sagemaker: Stubber, *answers: dict[str, Any]) -> list[str]:
    for answer in answers:
        sagemaker.add_response("describe_endpoint", answer, {"EndpointName": "aisle"})
    told: list[str] = []
    aws.wait_for_endpoint("aisle", "new", told.append)
    return told


def test_waiting_ends_when_the_new_configuration_serves(sagemaker: Stubber) -> None:
    updating = endpoint("Updating")
    assert wait(sagemaker, updating, updating, endpoint("InService", "new")) == ["Updating", "InService"]


def test_rolled_back_endpoint_is_an_error_although_it_is_in_service(sagemaker: Stubber) -> None:
    with pytest.raises(AwsError, match="rolled back to old: no ping"):
        wait(sagemaker, endpoint("Updating"), endpoint("InService", "old", FailureReason="no ping"))


def test_failed_endpoint_says_its_reason(sagemaker: Stubber) -> None:
    with pytest.raises(AwsError, match="the endpoint aisle is Failed: no ping"):
        wait(sagemaker, endpoint("Failed", FailureReason="no ping"))


def test_endless_update_is_given_up(sagemaker: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "ENDPOINT_SECONDS", -1.0)
    with pytest.raises(AwsError, match="still Updating"):
        wait(sagemaker, endpoint("Updating"))


def test_status_names_the_packages_that_serve(sagemaker: Stubber) -> None:
    variants = [{"VariantName": "alltraffic", "CurrentWeight": 1.0, "CurrentInstanceCount": 2}]
    sagemaker.add_response("describe_endpoint", endpoint("InService", ProductionVariants=variants))
    sagemaker.add_response(
        "describe_endpoint_config",
        {
            "EndpointConfigName": "old",
            "EndpointConfigArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/old",
            "ProductionVariants": [{"VariantName": "alltraffic", "ModelName": "model"}],
            "CreationTime": NOW,
        },
        {"EndpointConfigName": "old"},
    )
    sagemaker.add_response(
        "describe_model",
        {
            "ModelName": "model",
            "ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/model",
            "Containers": [{"ModelPackageName": ARN}],
            "CreationTime": NOW,
        },
        {"ModelName": "model"},
    )
    found = aws.status("aisle")

    assert found is not None
    assert (found.status, found.packages, found.variants) == ("InService", (ARN,), {"alltraffic": (1.0, 2)})


def test_status_of_no_endpoint_is_none(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    assert aws.status("aisle") is None


# --- Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("AccessDeniedException", "give the caller that permission"),
        ("ExpiredTokenException", "renew the credentials"),
        ("ResourceInUse", "that name is taken"),
        ("ResourceLimitExceeded", "ask AWS for a higher quota"),
    ],
)
def test_refusal_names_what_was_tried_and_the_cure(sagemaker: Stubber, code: str, cure: str) -> None:
    sagemaker.add_client_error("create_training_job", code, "it is not allowed")
    with pytest.raises(AwsError, match=f"starting the training job: it is not allowed; {cure}") as caught:
        train()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoRegionError(), "set AWS_DEFAULT_REGION"),
        (NoCredentialsError(), "set AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url="https://api.sagemaker"), "check the network and AWS_ENDPOINT_URL"),
        (ValueError("Invalid endpoint: https://api.sagemaker..amazonaws.com"), "check AWS_DEFAULT_REGION"),
        (ClientError({"Error": {"Code": "Odd"}}, "Do"), "trying: Odd"),
    ],
)
def test_nothing_of_botocore_gets_out(error: Exception, words: str) -> None:
    with pytest.raises(AwsError, match=words), aws.clear("trying"):
        raise error


def test_missing_region_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for cached in (aws.session, aws.sagemaker):
        cached.cache_clear()
    try:
        with pytest.raises(AwsError, match="no AWS region is known; set AWS_DEFAULT_REGION"):
            aws.status("aisle")
    finally:
        aws.session.cache_clear()


@pytest.mark.parametrize("url", ["export", "https://aisle/export", "s3:///export", ""])
def test_address_that_is_not_of_s3_is_refused(url: str) -> None:
    with pytest.raises(AwsError, match="must be an address such as s3://bucket/folder"):
        aws.read(url)


def test_one_session_serves_the_whole_process() -> None:
    makers: list[Callable[[], Any]] = [aws.session, aws.sagemaker, aws.s3]
    assert all(make() is make() for make in makers)


def test_json_is_written_as_json(s3: Stubber) -> None:
    wanted = {
        "Bucket": "aisle",
        "Key": "report.json",
        "Body": json.dumps({"a": 1}).encode(),
        "ContentType": "application/json",
    }
    s3.add_response("put_object", {}, wanted)
    aws.write_json("s3://aisle/report.json", {"a": 1})
