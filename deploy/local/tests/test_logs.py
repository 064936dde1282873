"""Logs of containers on their way to CloudWatch: every line once."""

from pathlib import Path

from deploy.local.logs import Follower
from deploy.local.tests.conftest import Aws
from deploy.local.tests.test_cloud_hosts import hosts


def test_lines_are_read_once_however_often_one_asks_after_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntw")
    follower = Follower(log)
    assert follower.lines() == ["one"]
    log.write_bytes(b"one\ntwo\nthree")
    assert follower.lines() == ["two"]
    assert [line for line in follower.rest() if line] == ["three"]
    assert [line for line in follower.rest() if line] == []


def test_host_that_ends_before_the_others_says_everything_once(aws: Aws) -> None:
    aws.train("before")
    aws.start_job("wide", {"lingers": "1"}, **hosts(2))
    job = aws.job("wide")

    assert job["TrainingJobStatus"] == "Completed"
    logs = aws.client("logs")
    for number in (1, 2):
        named = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
        (stream,) = logs.describe_log_streams(**named, logStreamNamePrefix=f"wide/algo-{number}")["logStreams"]
        said = logs.get_log_events(**named, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
        assert [event["message"].split()[0] for event in said] == ["training", "recall=0.25", "coverage=0.5"]
