"""Endpoints of the local cloud: fleets that really serve, change over and come back."""

import io
import tarfile
import threading
from typing import Any

import pytest

from deploy.local import server
from deploy.local.tests.conftest import IMAGE, ROLE, Aws, LocalCloud, eventually


def test_endpoint_serves_what_training_left(aws: Aws) -> None:
    endpoint = aws.serve()

    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["ProductionVariants"][0]["VariantName"] == "main"
    assert endpoint["DataCaptureConfig"]["CaptureStatus"] == "Started"
    assert aws.invoke()["model"] == "well"


def test_approved_package_of_the_registry_is_served(aws: Aws) -> None:
    url = aws.train()["ModelArtifacts"]["S3ModelArtifacts"]
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    arn = aws.sagemaker.create_model_package(
        ModelPackageGroupName="group",
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"recall": "0.25"},
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": url}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    aws.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=[{"ModelPackageName": arn}])
    aws.config("model")
    aws.sagemaker.create_endpoint(EndpointName="early", EndpointConfigName="model")
    assert "not approved" in aws.endpoint("early")["FailureReason"]

    aws.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    aws.sagemaker.create_endpoint(EndpointName="aisle", EndpointConfigName="model")
    assert aws.endpoint()["EndpointStatus"] == "InService"
    assert aws.invoke()["model"] == "well"
    package = aws.sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["CustomerMetadataProperties"] == {"recall": "0.25"}


def test_model_of_a_package_that_does_not_exist_is_refused(aws: Aws) -> None:
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="not found"):
        aws.sagemaker.create_model(
            ModelName="model", ExecutionRoleArn=ROLE, Containers=[{"ModelPackageName": "arn:nonsense"}]
        )


def test_update_changes_over_without_a_failed_call(aws: Aws) -> None:
    aws.serve()
    aws.model("better", "better")
    aws.config("better")
    models: list[str] = []
    stop = threading.Event()

    def shop() -> None:
        while not stop.is_set():
            models.append(aws.invoke()["model"])

    shopper = threading.Thread(target=shop)
    shopper.start()
    try:
        aws.sagemaker.update_endpoint(EndpointName="aisle", EndpointConfigName="better")
        assert aws.sagemaker.describe_endpoint(EndpointName="aisle")["EndpointStatus"] == "Updating"
        endpoint = aws.endpoint()
        count = len(models)
        eventually(lambda: len(models) > count + 20)
    finally:
        stop.set()
        shopper.join()

    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "better")
    assert models == sorted(models, reverse=True)  # "well" … "well", "better" … "better": never back
    assert set(models) == {"well", "better"}


def test_failed_update_leaves_the_old_model_in_service(aws: Aws) -> None:
    before = aws.serve()
    aws.model("worse", "stillborn")
    aws.config("worse")
    aws.sagemaker.update_endpoint(EndpointName="aisle", EndpointConfigName="worse")
    endpoint = aws.endpoint()

    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointConfigName"] == before["EndpointConfigName"]
    assert "the model is of no use" in endpoint["FailureReason"]
    assert aws.invoke()["model"] == "well"


def test_container_that_ends_at_once_fails_the_endpoint_with_its_last_words(aws: Aws) -> None:
    endpoint = aws.serve("stillborn")

    assert endpoint["EndpointStatus"] == "Failed"
    assert "exit code 1" in endpoint["FailureReason"]
    assert "the model is of no use" in endpoint["FailureReason"]


def test_container_that_never_gets_healthy_fails_the_endpoint(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STARTUP_SECONDS", 1.0)
    endpoint = aws.serve("never healthy")

    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]


def test_container_that_dies_is_started_again_and_its_calls_are_model_errors_meanwhile(aws: Aws) -> None:
    aws.serve()
    first = aws.invoke()["pid"]
    with pytest.raises(aws.runtime.exceptions.ModelError):
        aws.invoke(b"die")

    def back() -> int | None:
        try:
            return int(aws.invoke()["pid"])
        except aws.runtime.exceptions.ModelError:
            return None

    assert eventually(back) != first
    assert aws.endpoint()["EndpointStatus"] == "InService"


def test_calls_are_shared_by_weight_and_a_caller_may_name_the_variant(aws: Aws) -> None:
    aws.model("one", "one")
    aws.model("two", "two")
    aws.config("both", {"one": 1.0, "two": 0.0})
    aws.sagemaker.create_endpoint(EndpointName="aisle", EndpointConfigName="both")
    aws.endpoint()

    assert {aws.invoke()["model"] for _ in range(20)} == {"one"}
    assert aws.invoke(TargetVariant="two")["model"] == "two"
    with pytest.raises(aws.runtime.exceptions.ValidationError, match="three"):
        aws.invoke(TargetVariant="three")

    shares = [{"VariantName": "one", "DesiredWeight": 0.0}, {"VariantName": "two", "DesiredWeight": 1.0}]
    aws.sagemaker.update_endpoint_weights_and_capacities(EndpointName="aisle", DesiredWeightsAndCapacities=shares)
    assert {aws.invoke()["model"] for _ in range(20)} == {"two"}
    assert aws.endpoint()["ProductionVariants"][0]["CurrentInstanceCount"] == 1


def test_deleted_endpoint_answers_no_more(aws: Aws) -> None:
    aws.serve()
    aws.sagemaker.delete_endpoint(EndpointName="aisle")

    with pytest.raises(
        aws.runtime.exceptions.ValidationError, match="Endpoint aisle of account 123456789012 not found"
    ):
        aws.invoke()
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="Could not find endpoint"):
        aws.sagemaker.describe_endpoint(EndpointName="aisle")


def test_what_sagemaker_refuses_is_refused(aws: Aws) -> None:
    aws.serve()
    requests: list[tuple[str, dict[str, Any], str]] = [
        ("create_endpoint", {"EndpointName": "aisle", "EndpointConfigName": "aisle-well"}, "already existing endpoint"),
        ("create_endpoint", {"EndpointName": "new", "EndpointConfigName": "none"}, "Could not find endpoint conf"),
        ("update_endpoint", {"EndpointName": "none", "EndpointConfigName": "aisle-well"}, "Could not find endpoint"),
        ("update_endpoint", {"EndpointName": "aisle", "EndpointConfigName": "none"}, "Could not find endpoint conf"),
        ("create_model", {"ModelName": "aisle-well"}, "already existing model"),
    ]
    for operation, request, words in requests:
        with pytest.raises(aws.sagemaker.exceptions.ClientError, match=words) as caught:
            getattr(aws.sagemaker, operation)(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert aws.invoke()["model"] == "well"


def tarball(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("UP", "../../"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    "body",
    [b"not a tarball", tarball(UPevil=b"x"), tarball(behaviour=b"well" * 99)[:-20]],
    ids=["no tarball", "out of its folder", "cut short"],
)
def test_unsound_model_data_fails_the_endpoint_and_escapes_nowhere(aws: Aws, cloud: LocalCloud, body: bytes) -> None:
    aws.make_bucket()
    aws.s3.put_object(Bucket="aisle", Key="model.tar.gz", Body=body)
    container = {"Image": IMAGE, "ModelDataUrl": "s3://aisle/model.tar.gz"}
    aws.sagemaker.create_model(ModelName="odd", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    aws.config("odd")
    aws.sagemaker.create_endpoint(EndpointName="aisle", EndpointConfigName="odd")

    assert "no sound .tar.gz" in aws.endpoint()["FailureReason"]
    assert not list(cloud.state.rglob("evil"))
