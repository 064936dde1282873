"""The deploy verb: what it needs, what it says, what its exit code tells."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from botocore.stub import Stubber

from ml import aws, deploy
from ml.__main__ import main

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/aisle/7"
NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
SERVING = aws.Endpoint("aisle", "InService", "aisle-7", NOW, "", {"alltraffic": (1.0, 2)}, (ARN,))
FAILED = aws.Endpoint("aisle", "Failed", "aisle-7", NOW, "did not pass the ping health check", {}, ())
PACKAGES = [
    aws.Package(ARN, 7, "Approved", NOW, {"novel:recall@20": "0.2500"}),
    aws.Package(ARN.replace("/7", "/6"), 6, "Rejected", NOW),
]


@pytest.fixture
def sagemaker() -> Iterator[Stubber]:
    aws.sagemaker.cache_clear()
    with Stubber(aws.sagemaker()) as stub:
        yield stub
        stub.assert_no_pending_responses()
    aws.sagemaker.cache_clear()


@pytest.mark.parametrize(
    ("words", "missing"), [([], "--role or set AISLE_ROLE_ARN"), (["--role", "arn:…"], "--image or set AISLE_IMAGE")]
)
def test_missing_setting_is_named_with_flag_and_variable(
    words: list[str], missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AISLE_ROLE_ARN", raising=False)
    monkeypatch.delenv("AISLE_IMAGE", raising=False)

    assert main(["deploy", *words]) == 2
    assert missing in capsys.readouterr().err


def test_status_shows_what_serves_and_what_is_registered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(aws, "status", lambda endpoint: SERVING)
    monkeypatch.setattr(aws, "packages", lambda group: PACKAGES)

    assert main(["deploy", "--status"]) == 0
    said = capsys.readouterr().out
    assert ARN in said
    assert "weight 1, 2 instances" in said
    assert "novel:recall@20 0.2500" in said
    serving = [line.split("│")[5].strip() for line in said.splitlines() if "Approved" in line or "Rejected" in line]
    assert serving == ["yes", ""]


@pytest.mark.parametrize(
    ("endpoint", "words"), [(FAILED, "did not pass the ping health check"), (None, "there is none of this name")]
)
def test_status_of_what_does_not_serve_says_so_and_exits_with_1(
    endpoint: aws.Endpoint | None, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "status", lambda name: endpoint)
    monkeypatch.setattr(aws, "packages", lambda group: [])

    assert main(["deploy", "--status"]) == 1
    assert words in capsys.readouterr().out


def test_registry_is_read_newest_first_with_its_metrics(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "describe_model_package_group",
        {
            "ModelPackageGroupName": "aisle",
            "ModelPackageGroupArn": "arn:…",
            "CreationTime": NOW,
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        },
    )
    sagemaker.add_response(
        "list_model_packages",
        {
            "ModelPackageSummaryList": [
                {"ModelPackageArn": ARN, "CreationTime": NOW, "ModelPackageStatus": "Completed"},
            ]
        },
        {"ModelPackageGroupName": "aisle", "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 5},
    )
    sagemaker.add_response(
        "describe_model_package",
        {
            "ModelPackageName": "aisle",
            "ModelPackageArn": ARN,
            "ModelPackageVersion": 7,
            "ModelApprovalStatus": "Approved",
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreationTime": NOW,
            "CustomerMetadataProperties": {"novel:recall@20": "0.2500"},
        },
        {"ModelPackageName": ARN},
    )
    assert aws.packages("aisle") == PACKAGES[:1]


def test_progress_lines_carry_the_seconds_and_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    deploy.Stopwatch().step("deploy")("InService")
    seconds, unit, step, text = capsys.readouterr().out.split()
    assert (float(seconds) < 1, unit, step, text) == (True, "s", "deploy", "InService")
