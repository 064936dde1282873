"""Training jobs of the local cloud: what SageMaker promises a container, and what becomes of one."""

import io
import json
import os
import tarfile
import time
from typing import Any

import pytest

from deploy.local import jobs
from deploy.local.tests.conftest import Aws, LocalCloud, eventually


def archive(aws: Aws, key: str) -> dict[str, bytes]:
    body = aws.s3.get_object(Bucket="aisle", Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as packed:
        return {member.name: file.read() for member in packed if (file := packed.extractfile(member))}


def test_job_trains_on_its_channel_and_leaves_model_report_and_metrics(aws: Aws) -> None:
    job = aws.train(recall="0.875")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]} == {
        "recall": 0.875,
        "coverage": 0.5,
    }
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == "s3://aisle/models/job/output/model.tar.gz"
    assert archive(aws, "models/job/output/model.tar.gz")["behaviour"] == b"well"
    assert json.loads(archive(aws, "models/job/output/output.tar.gz")["evaluation.json"]) == {"rows": 3}


def test_container_gets_what_the_platform_promises_and_nothing_of_this_process(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    aws.train()
    aws.start_job("second", {}, Environment={"COLOUR": "green"})
    aws.job("second")

    environment = json.loads(archive(aws, "models/second/output/model.tar.gz")["environment"])
    assert environment["TRAINING_JOB_NAME"] == "second"
    assert environment["TRAINING_JOB_ARN"].endswith(":training-job/second")
    assert environment["AWS_REGION"] == "eu-west-1"
    assert environment["COLOUR"] == "green"
    assert not environment.keys() & {
        "DATABASE_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "DJANGO_SETTINGS_MODULE",
    }


def test_log_is_kept_in_a_file_and_in_cloudwatch(aws: Aws, cloud: LocalCloud) -> None:
    aws.train()

    assert "recall=0.25 rows=3" in (cloud.state / "logs/training-job.log").read_text()
    events = aws.client("logs").filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs")["events"]
    assert "recall=0.25 rows=3" in [event["message"] for event in events]


def test_failure_file_and_exit_code_become_the_failure_reason(aws: Aws) -> None:
    job = aws.train(failure="events/part-0: no column time", exit="7")

    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: events/part-0: no column time, exit code: 7"


def test_without_a_failure_file_the_log_s_last_line_is_the_reason(aws: Aws) -> None:
    job = aws.train(exit="1")

    assert job["FailureReason"] == "AlgorithmError: coverage=0.5, exit code: 1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AlgorithmSpecification": {"TrainingImage": "x.dkr.ecr/other:2", "TrainingInputMode": "File"}}, "other:2"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 9, "VolumeSizeInGB": 1}}, "at most 8"),
        ({"AlgorithmSpecification": {"TrainingImage": "tiny", "TrainingInputMode": "Pipe"}}, "Pipe"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://elsewhere/models"}}, "elsewhere"),
    ],
)
def test_what_cannot_run_fails_and_says_why(aws: Aws, changes: dict[str, Any], words: str) -> None:
    aws.train()
    aws.start_job("impossible", {}, **changes)
    job = aws.job("impossible")

    assert job["TrainingJobStatus"] == "Failed"
    assert words in job["FailureReason"]


def test_empty_export_fails_before_training(aws: Aws) -> None:
    aws.make_bucket()
    aws.start_job("job", {})
    job = aws.job("job")

    assert job["FailureReason"] == "ClientError: no S3 objects found under s3://aisle/export/"
    assert "Training" not in [step["Status"] for step in job["SecondaryStatusTransitions"]]


def test_job_names_are_used_once(aws: Aws) -> None:
    aws.train()
    with pytest.raises(aws.sagemaker.exceptions.ResourceInUse, match="unique"):
        aws.start_job("job", {})


def running(aws: Aws, cloud: LocalCloud, **hyperparameters: str) -> None:
    aws.train("before")
    aws.start_job("long", hyperparameters)
    log = cloud.state / "logs/training-long.log"
    eventually(lambda: log.exists() and "recall" in log.read_text())


def test_stopped_job_ends_by_sigterm(aws: Aws, cloud: LocalCloud) -> None:
    running(aws, cloud, sleep="60")
    aws.sagemaker.stop_training_job(TrainingJobName="long")
    job = aws.job("long")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [each["Value"] for each in job["FinalMetricDataList"]] == [0.25, 0.5]
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="status Stopped"):
        aws.sagemaker.stop_training_job(TrainingJobName="long")


def test_job_that_is_deaf_to_sigterm_is_killed_after_the_grace(
    aws: Aws, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.5)
    running(aws, cloud, sleep="60", deaf="yes")
    began = time.monotonic()
    aws.sagemaker.stop_training_job(TrainingJobName="long")

    assert aws.job("long")["TrainingJobStatus"] == "Stopped"
    assert time.monotonic() - began >= 0.5


def test_checkpoints_of_one_job_are_there_for_the_next(aws: Aws) -> None:
    aws.train("before")
    for name in ("first", "second"):
        aws.start_job(name, {}, CheckpointConfig={"S3Uri": "s3://aisle/checkpoints"})
        aws.job(name)

    assert aws.s3.get_object(Bucket="aisle", Key="checkpoints/runs")["Body"].read() == b"2"


def test_job_past_its_time_limit_is_stopped(aws: Aws) -> None:
    aws.train("before")
    aws.start_job("long", {"sleep": "60"}, StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = aws.job("long")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_running_job_ends_with_the_cloud_and_is_failed_or_stopped_afterwards(aws: Aws, cloud: LocalCloud) -> None:
    running(aws, cloud, sleep="60")
    pids = [
        int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _environment(entry, "TRAINING_JOB_NAME=long")
    ]
    assert pids
    began = time.monotonic()
    cloud.restart()

    assert time.monotonic() - began < 20  # not the 120 s that AWS gives
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    assert aws.job("long")["TrainingJobStatus"] == "Stopped"


def _environment(pid: str, holds: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return holds.encode() in file.read()
    except OSError:
        return False
