"""Spot instances that go and come back, and jobs of several hosts."""

import json
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.local.tests.conftest import Aws, LocalCloud
from deploy.local.tests.test_cloud_jobs import archive

SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    "CheckpointConfig": {"S3Uri": "s3://aisle/checkpoints/spot"},
}


def break_off(cloud: LocalCloud, seconds: float, warning: float) -> None:
    wish = {"spot_interruption_seconds": seconds, "spot_warning_seconds": warning}
    request = urllib.request.Request(f"{cloud.runtime_url}/local-cloud/faults", json.dumps(wish).encode())
    urllib.request.urlopen(request).close()


def hosts(count: int) -> dict[str, Any]:
    return {"ResourceConfig": {"InstanceType": "ml.m7i.large", "InstanceCount": count, "VolumeSizeInGB": 10}}


@pytest.mark.parametrize("warning", [120, 0])
def test_spot_job_is_interrupted_starts_again_and_goes_on_from_its_checkpoints(
    aws: Aws, cloud: LocalCloud, warning: float
) -> None:
    aws.train("before")
    break_off(cloud, 1.0, warning)
    aws.start_job("spot", {"steps": "28"}, **SPOT)
    job = aws.job("spot")

    assert job["TrainingJobStatus"] == "Completed"
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps[:6] == ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading"]
    assert steps[-2:] == ["Uploading", "Completed"]
    said = (cloud.state / "logs/training-spot.run-2.log").read_text()
    assert "starting at step 0" not in said
    assert aws.s3.get_object(Bucket="aisle", Key="checkpoints/spot/step")["Body"].read() == b"28"


def test_spot_job_is_billed_less_than_it_trained(aws: Aws) -> None:
    aws.train("before")
    aws.start_job("spot", {"sleep": "1.2"}, **SPOT)
    job = aws.job("spot")

    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]
    assert aws.train("other")["BillableTimeInSeconds"] == 1


def test_on_demand_job_is_not_interrupted(aws: Aws, cloud: LocalCloud) -> None:
    break_off(cloud, 0.2, 0)
    steps = [step["Status"] for step in aws.train(sleep="1")["SecondaryStatusTransitions"]]
    assert "Interrupted" not in steps


def test_spot_job_that_waits_too_long_is_stopped(aws: Aws, cloud: LocalCloud) -> None:
    aws.train("before")
    break_off(cloud, 0.2, 0)
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}}
    aws.start_job("spot", {"sleep": "60"}, **{**SPOT, **limits})
    job = aws.job("spot")

    assert job["TrainingJobStatus"] == "Stopped"
    assert job["SecondaryStatus"] in {"MaxWaitTimeExceeded", "MaxRuntimeExceeded"}


def test_spot_job_needs_a_time_to_wait(aws: Aws) -> None:
    with pytest.raises(ClientError, match="MaxWaitTimeInSeconds"):
        aws.start_job("spot", {}, **{**SPOT, "StoppingCondition": {"MaxRuntimeInSeconds": 60}})


def test_checkpoint_that_a_job_removes_is_removed_from_s3(aws: Aws, cloud: LocalCloud) -> None:
    aws.train("before")
    aws.start_job("spot", {"steps": "12"}, **SPOT)
    aws.job("spot")

    found = aws.s3.list_objects_v2(Bucket="aisle", Prefix="checkpoints/spot/")["Contents"]
    assert [each["Key"] for each in found] == ["checkpoints/spot/runs", "checkpoints/spot/step"]


@pytest.mark.parametrize("count", [2, 4])
def test_job_of_several_hosts_runs_on_all_of_them(aws: Aws, cloud: LocalCloud, count: int) -> None:
    aws.train("before")
    aws.start_job("wide", {"recall": "0.5"}, **hosts(count))
    job = aws.job("wide")

    assert job["TrainingJobStatus"] == "Completed"
    logs = sorted(path.name for path in (cloud.state / "logs").glob("training-wide*"))
    assert len(logs) == count
    streams = aws.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    assert len([each for each in streams if each["logStreamName"].startswith("wide/algo-")]) == count
    assert archive(aws, "models/wide/output/model.tar.gz")["behaviour"] == b"well"


def test_host_that_fails_ends_the_others_and_is_the_reason(aws: Aws) -> None:
    aws.train("before")
    aws.start_job("wide", {"fails": "1"}, **hosts(2))
    job = aws.job("wide")

    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: algo-2: too little memory, exit code: 2"
