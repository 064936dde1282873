"""What the local cloud remembers, and what it says when it cannot."""

import errno
from pathlib import Path
from typing import Any

import pytest

from deploy.local import storage
from deploy.local.storage import CorruptState
from deploy.local.tests.conftest import IMAGE, Aws, LocalCloud


def files(cloud: LocalCloud) -> list[Path]:
    return sorted((cloud.state / "s3/aisle/objects").iterdir())


def test_objects_come_back_as_they_were(aws: Aws, cloud: LocalCloud) -> None:
    aws.make_bucket()
    aws.s3.put_object(
        Bucket="aisle", Key="export/a b+ü.txt", Body=b"\x00\nbytes", ContentType="text/plain", Metadata={"rows": "3"}
    )
    aws.s3.put_object(Bucket="aisle", Key="export/gone.txt", Body=b"soon deleted")
    aws.s3.delete_object(Bucket="aisle", Key="export/gone.txt")
    before = aws.s3.head_object(Bucket="aisle", Key="export/a b+ü.txt")
    cloud.restart()
    after = aws.s3.get_object(Bucket="aisle", Key="export/a b+ü.txt")

    assert after["Body"].read() == b"\x00\nbytes"
    for field in ("ContentType", "ETag", "Metadata", "LastModified"):
        assert after[field] == before[field]
    listed = aws.s3.list_objects_v2(Bucket="aisle")["Contents"]
    assert [each["Key"] for each in listed] == ["export/a b+ü.txt"]


def test_large_objects_in_parts_copies_and_emptied_buckets_are_kept_too(aws: Aws, cloud: LocalCloud) -> None:
    aws.make_bucket()
    upload = aws.s3.create_multipart_upload(Bucket="aisle", Key="big", ContentType="application/x-tar")["UploadId"]
    bodies = [b"a" * 5_242_880, b"b"]
    parts = [
        {
            "PartNumber": number,
            "ETag": aws.s3.upload_part(Bucket="aisle", Key="big", UploadId=upload, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number, body in enumerate(bodies, 1)
    ]
    aws.s3.complete_multipart_upload(Bucket="aisle", Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    aws.s3.copy_object(Bucket="aisle", Key="copy", CopySource="aisle/big")
    aws.s3.create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    aws.s3.delete_bucket(Bucket="other")
    cloud.restart()

    assert [bucket["Name"] for bucket in aws.s3.list_buckets()["Buckets"]] == ["aisle"]
    for key in ("big", "copy"):
        found = aws.s3.get_object(Bucket="aisle", Key=key)
        assert found["Body"].read() == b"".join(bodies)
        assert found["ContentType"] == "application/x-tar"


def register(aws: Aws, url: str) -> str:
    arn: str = aws.sagemaker.create_model_package(
        ModelPackageGroupName="group",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": url}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    return arn


def test_registry_jobs_and_endpoint_come_back_without_training(aws: Aws, cloud: LocalCloud) -> None:
    aws.serve()
    job = aws.sagemaker.describe_training_job(TrainingJobName="job-aisle-well")
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    arn = register(aws, job["ModelArtifacts"]["S3ModelArtifacts"])
    package = aws.sagemaker.describe_model_package(ModelPackageName=arn)
    jobs = sorted((cloud.state / "logs").glob("training-*"))
    cloud.restart()

    assert aws.sagemaker.describe_endpoint(EndpointName="aisle")["EndpointStatus"] in {"Creating", "InService"}
    assert aws.endpoint()["EndpointStatus"] == "InService"
    assert aws.invoke()["model"] == "well"
    again = aws.sagemaker.describe_training_job(TrainingJobName="job-aisle-well")
    assert {**job, "ResponseMetadata": None} == {**again, "ResponseMetadata": None}
    known = aws.sagemaker.describe_model_package(ModelPackageName=arn)
    assert {**package, "ResponseMetadata": None} == {**known, "ResponseMetadata": None}
    assert register(aws, "s3://aisle/other.tar.gz") == arn.removesuffix("/1") + "/2"
    assert sorted((cloud.state / "logs").glob("training-*")) == jobs


def test_endpoint_in_the_middle_of_an_update_comes_back_as_it_was(aws: Aws, cloud: LocalCloud) -> None:
    aws.serve()
    aws.model("slow", "never healthy")
    aws.config("slow")
    aws.sagemaker.update_endpoint(EndpointName="aisle", EndpointConfigName="slow")
    cloud.restart()

    assert aws.endpoint()["EndpointConfigName"] == "aisle-well"
    assert aws.invoke()["model"] == "well"


@pytest.mark.parametrize("damage", [b"", b"{not json\n", b'{"key": "a", "size": 5, "crc32": 1}\nhello'])
def test_corrupt_object_is_named_with_the_cure_and_left_alone(aws: Aws, cloud: LocalCloud, damage: bytes) -> None:
    aws.make_bucket()
    aws.s3.put_object(Bucket="aisle", Key="a", Body=b"hello")
    cloud.stop()
    (path,) = files(cloud)
    path.write_bytes(damage)

    with pytest.raises(CorruptState, match=f"{path.name} is corrupt .*make clean"):
        cloud.start()
    assert path.read_bytes() == damage


@pytest.mark.parametrize("damage", ["{", "[]", '{"eu-west-1": {"surprises": {}}}', '{"eu-west-1": {"endpoints": [1]}}'])
def test_corrupt_registry_is_named_with_the_cure_and_left_alone(aws: Aws, cloud: LocalCloud, damage: str) -> None:
    aws.make_bucket()
    cloud.stop()
    path = cloud.state / "sagemaker.json"
    path.write_text(damage)

    with pytest.raises(CorruptState, match=r"sagemaker\.json is corrupt .*make clean"):
        cloud.start()
    assert path.read_text() == damage


def test_object_that_was_being_written_when_the_machine_died_is_not_there(aws: Aws, cloud: LocalCloud) -> None:
    aws.make_bucket()
    aws.s3.put_object(Bucket="aisle", Key="a", Body=b"whole")
    cloud.stop()
    (whole,) = files(cloud)
    whole.with_name("0" * 64 + ".part").write_bytes(b'{"key": "b"')
    cloud.start()

    assert [each["Key"] for each in aws.s3.list_objects_v2(Bucket="aisle")["Contents"]] == ["a"]
    assert files(cloud) == [whole]


def test_full_disk_is_an_error_that_says_so_and_loses_nothing_kept(
    aws: Aws, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.make_bucket()
    aws.s3.put_object(Bucket="aisle", Key="a", Body=b"first")

    def full(path: Path, *parts: bytes) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(storage, "replace", full)
        with pytest.raises(aws.s3.exceptions.ClientError, match="No space left on device"):
            aws.s3.put_object(Bucket="aisle", Key="a", Body=b"second")
        assert files(cloud)[0].read_bytes().endswith(b"first")

    aws.s3.put_object(Bucket="aisle", Key="b", Body=b"third")  # there is room again: both are kept now
    cloud.restart()
    assert aws.s3.get_object(Bucket="aisle", Key="a")["Body"].read() == b"second"
    assert aws.s3.get_object(Bucket="aisle", Key="b")["Body"].read() == b"third"


def test_what_moto_cannot_do_is_said_and_not_a_page_of_html(aws: Aws) -> None:
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="not in the local cloud") as caught:
        aws.sagemaker.list_monitoring_schedules()
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
