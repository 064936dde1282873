"""Logs of jobs: each request as botocore's own model checks it, each line told once."""

from typing import Any

from botocore.stub import Stubber

from ml.aws.logs import TRAINING_LOGS, Log

STREAM = "aisle-1/algo-1-1"
ASKED = {"logGroupName": TRAINING_LOGS, "logStreamName": STREAM}


def found(*lines: str, token: str) -> dict[str, Any]:
    return {"events": [{"timestamp": 1, "message": line} for line in lines], "nextForwardToken": token}


def add_streams(logs: Stubber) -> None:
    logs.add_response(
        "describe_log_streams",
        {"logStreams": [{"logStreamName": STREAM}]},
        {"logGroupName": TRAINING_LOGS, "logStreamNamePrefix": "aisle-1/"},
    )


def test_lines_are_told_once_and_in_order(logs: Stubber) -> None:
    add_streams(logs)
    logs.add_response("get_log_events", found("one", "two", token="f/1"), {**ASKED, "startFromHead": True})
    logs.add_response("get_log_events", found(token="f/1"), {**ASKED, "nextToken": "f/1"})
    add_streams(logs)
    logs.add_response("get_log_events", found("three", token="f/2"), {**ASKED, "nextToken": "f/1"})
    logs.add_response("get_log_events", found(token="f/2"), {**ASKED, "nextToken": "f/2"})
    log = Log(TRAINING_LOGS, "aisle-1/")

    assert list(log.lines()) == ["one", "two"]
    assert list(log.lines()) == ["three"]


def test_empty_page_is_not_taken_for_the_end(logs: Stubber) -> None:
    add_streams(logs)
    logs.add_response("get_log_events", found(token="f/1"), {**ASKED, "startFromHead": True})
    logs.add_response("get_log_events", found("one", token="f/2"), {**ASKED, "nextToken": "f/1"})
    logs.add_response("get_log_events", found(token="f/2"), {**ASKED, "nextToken": "f/2"})

    assert list(Log(TRAINING_LOGS, "aisle-1/").lines()) == ["one"]


def test_job_that_has_said_nothing_has_no_lines(logs: Stubber) -> None:
    logs.add_client_error("describe_log_streams", "ResourceNotFoundException")
    assert list(Log(TRAINING_LOGS, "aisle-1/").lines()) == []
