"""The registry: groups, versions, approval, metrics and where a model comes from."""

from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from ml.aws import registry
from ml.aws.client import AwsError
from ml.tests.names import ARN, IMAGE, JOB, NOW


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
            "MetadataProperties": {"GeneratedBy": JOB.arn},
            "CustomerMetadataProperties": {"learnt-from": "s3://aisle/export/", "novel:recall@20": "0.2500"},
        },
    )


def register() -> str:
    return registry.register(
        "aisle",
        JOB,
        image=IMAGE,
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
    registry.approve(ARN, "because")


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
    assert registry.newest_approved("aisle") == ARN


def test_nothing_approved_says_what_to_do(sagemaker: Stubber) -> None:
    expect_newest(sagemaker)
    with pytest.raises(AwsError, match="aisle holds no approved model; run `python -m ml pipeline`"):
        registry.newest_approved("aisle")


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
            "MetadataProperties": {"GeneratedBy": JOB.arn},
            "CustomerMetadataProperties": {"learnt-from": "s3://aisle/export/", "novel:recall@20": "0.2500"},
        },
        {"ModelPackageName": ARN},
    )
    (package,) = registry.packages("aisle")
    assert package == registry.Package(
        ARN, 7, "Approved", NOW, {"novel:recall@20": "0.2500"}, learnt_by=JOB.arn, learnt_from="s3://aisle/export/"
    )


def test_only_an_approved_model_may_be_deployed(sagemaker: Stubber) -> None:
    for status in ("Approved", "Rejected"):
        found = {
            "ModelPackageName": "aisle", "ModelPackageArn": ARN, "CreationTime": NOW, "ModelApprovalStatus": status,
            "ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []},
        }  # fmt: skip
        sagemaker.add_response("describe_model_package", found, {"ModelPackageName": ARN})
    assert registry.require_approved(ARN) == ARN
    with pytest.raises(AwsError, match="is Rejected; approve it in the registry first"):
        registry.require_approved(ARN)
