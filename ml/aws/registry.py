"""The model registry: one package group, a version for each training job, and what was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from botocore.exceptions import ClientError

from ml.aws.client import AwsError, clear, instance, is_missing, sagemaker
from ml.aws.training import TrainedJob
from ml.contract import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Package:
    """One version of the model in the registry. ``learnt_by`` and ``learnt_from`` are a job's ARN and its data."""

    arn: str
    version: int
    status: str
    created: datetime
    metrics: Mapping[str, str] = field(default_factory=dict)
    learnt_by: str = ""
    learnt_from: str = ""


def register(
    group: str, job: TrainedJob, *, image: str, report_url: str, metrics: Mapping[str, float], instance_type: str
) -> str:
    """Add what a job learnt to the registry, waiting for approval. Returns the package's ARN. Raises AwsError."""
    with clear(f"registering the model in {group}"):
        _ensure_group(group)
        package = sagemaker().create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": job.model_data_url}],
                "SupportedContentTypes": [CONTENT_TYPE],
                "SupportedResponseMIMETypes": [CONTENT_TYPE],
                "SupportedRealtimeInferenceInstanceTypes": [instance(instance_type)],
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report_url}}},
            MetadataProperties={"GeneratedBy": job.arn},
            CustomerMetadataProperties={
                "learnt-from": job.data_url,
                **{name: f"{value:.4f}" for name, value in metrics.items()},
            },
        )
    return package["ModelPackageArn"]


def approve(arn: str, why: str) -> None:
    """Allow a registered model to be deployed. Raises AwsError."""
    with clear(f"approving {arn}"):
        sagemaker().update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription=why)


def packages(group: str, limit: int = 5) -> list[Package]:
    """The newest registered models of a group; none if there is no such group. Raises AwsError."""
    with clear(f"listing the models of {group}"):
        if not _has_group(group):
            return []
        found = sagemaker().list_model_packages(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
        )["ModelPackageSummaryList"]
        return [_package(each["ModelPackageArn"]) for each in found]


def require_approved(arn: str) -> str:
    """The ARN itself. Raises AwsError unless it is of a model that may be deployed, before anything is made of it."""
    with clear(f"looking for the model {arn}"):
        status = sagemaker().describe_model_package(ModelPackageName=arn).get("ModelApprovalStatus", "")
    if status != "Approved":
        raise AwsError(f"the model {arn} is {status or 'without approval'}; approve it in the registry first")
    return arn


def newest_approved(group: str) -> str:
    """The model to deploy when none is named. Raises AwsError if nothing is approved."""
    with clear(f"looking for an approved model in {group}"):
        found = (
            sagemaker().list_model_packages(
                ModelPackageGroupName=group,
                ModelApprovalStatus="Approved",
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=1,
            )["ModelPackageSummaryList"]
            if _has_group(group)
            else []
        )
    if not found:
        raise AwsError(f"{group} holds no approved model; run `python -m ml pipeline`, or approve one in the registry")
    return found[0]["ModelPackageArn"]


def _has_group(group: str) -> bool:
    try:
        sagemaker().describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True


def _ensure_group(group: str) -> None:
    if not _has_group(group):
        sagemaker().create_model_package_group(
            ModelPackageGroupName=group, ModelPackageGroupDescription="Aisle's recommender, one version a training job"
        )


def _package(arn: str) -> Package:
    found = sagemaker().describe_model_package(ModelPackageName=arn)
    properties = dict(found.get("CustomerMetadataProperties", {}))
    return Package(
        arn=arn,
        version=found.get("ModelPackageVersion", 0),
        status=found.get("ModelApprovalStatus", ""),
        created=found["CreationTime"],
        learnt_from=properties.pop("learnt-from", ""),
        learnt_by=found.get("MetadataProperties", {}).get("GeneratedBy", ""),
        metrics=properties,
    )
