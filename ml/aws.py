"""The cloud side's only way to AWS: training jobs, the model registry, endpoints, and the S3 objects between them.

boto3 finds region, credentials and addresses in its own places (AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ENDPOINT_URL…).
What boto3 raises stays in here: callers see AwsError, one line that names cause and cure.

Resource names are lower-case throughout, because EventBridge and IAM show SageMaker's ARNs in lower case.
"""

import io
import json
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from ml.contract import CONTENT_TYPE
from ml.errors import MlError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import CreateTrainingJobRequestTypeDef, DescribeEndpointOutputTypeDef

# botocore's own defaults wait 60 s for a connection, and its retry mode may change: so both are said.
CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
CHANNEL = "export"
# An update must keep its variants' names; with one name for ever no deployment can break that rule.
VARIANT = "alltraffic"
REPORT = "evaluation.json"
VOLUME_GB = 30
SHORTEST_POLL, LONGEST_POLL = 0.5, 15.0  # seconds between two looks: quick on short work, gentle on long
ENDPOINT_SECONDS = 3_600.0
UPLOAD_SECONDS = 900.0  # a job may still download and upload outside of its MaxRuntimeInSeconds

CURES = {
    "AccessDenied": "give the caller that permission, or use another profile",
    "AccessDeniedException": "give the caller that permission, or use another profile",
    "ExpiredToken": "renew the credentials",
    "ExpiredTokenException": "renew the credentials",
    "ResourceInUse": "that name is taken: wait for what holds it, or choose another",
    "ResourceLimitExceeded": "ask AWS for a higher quota, or choose another instance type",
    "NoSuchBucket": "create the bucket, or name another",
    "ThrottlingException": "try again later",
}

Tell = Callable[[str], None]


class AwsError(MlError):
    """AWS refused, failed, or cannot be reached."""


@dataclass(frozen=True, slots=True)
class TrainedJob:
    """A training job that completed. ``metrics`` are the last values of its MetricDefinitions."""

    name: str
    model_data_url: str
    metrics: Mapping[str, float]

    @property
    def output_url(self) -> str:
        """The S3 folder of what the job left."""
        return self.model_data_url.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Package:
    """One version of the model in the registry."""

    arn: str
    version: int
    status: str
    created: datetime
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it stands. ``packages`` are the model packages that its configuration serves."""

    name: str
    status: str
    config_name: str
    changed: datetime
    failure: str
    variants: Mapping[str, tuple[float, int]]  # name: weight, instances
    packages: tuple[str, ...]


@cache
def session() -> boto3.Session:
    """One for each process: finding credentials and reading service models is what costs time."""
    return boto3.Session()


@cache
def sagemaker() -> "SageMakerClient":
    """Raises what ``clear`` translates."""
    return session().client("sagemaker", config=CONFIG)


@cache
def s3() -> "S3Client":
    """Raises what ``clear`` translates."""
    return session().client("s3", config=CONFIG)


@contextmanager
def clear(doing: str) -> Iterator[None]:
    """Turn what boto3 raises while ``doing`` something into an AwsError."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        cure = CURES.get(code)
        raise AwsError(f"{doing}: {message or code}" + (f"; {cure}" if cure else "")) from error
    except NoRegionError as error:
        raise AwsError(f"{doing}: no AWS region is known; set AWS_DEFAULT_REGION") from error
    except NoCredentialsError as error:
        raise AwsError(f"{doing}: no AWS credentials are found; set AWS_PROFILE or run on a role") from error
    except BotoCoreError as error:
        raise AwsError(f"{doing}: {error}; check the network and AWS_ENDPOINT_URL") from error
    except ValueError as error:  # so botocore calls an address or a region that cannot be one
        raise AwsError(f"{doing}: {error}; check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL") from error


# --- Training --------------------------------------------------------------------------------------------


def train(
    *,
    image: str,
    role: str,
    export_url: str,
    output_url: str,
    instance_type: str,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[tuple[str, str]],
    max_seconds: int,
    checkpoint_url: str | None = None,
) -> str:
    """Start a training job on an export in S3. Returns its name. Raises AwsError.

    ``metrics`` are (name, regular expression) of the lines that the job prints. ``checkpoint_url`` is an S3 folder that
    SageMaker keeps in step with the container's checkpoints, for jobs that may be interrupted.
    """
    name = f"aisle-{_stamp()}"
    request: CreateTrainingJobRequestTypeDef = {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": metric, "Regex": regex} for metric, regex in metrics],
        },
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": [
            {
                "ChannelName": CHANNEL,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        # A prefix is compared as text: without the slash `export` would bring `export-old` too.
                        "S3Uri": export_url.rstrip("/") + "/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": output_url.rstrip("/")},
        "ResourceConfig": {"InstanceType": _instance(instance_type), "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_seconds},
    }
    if checkpoint_url:
        request["CheckpointConfig"] = {"S3Uri": checkpoint_url}
    with clear("starting the training job"):
        sagemaker().create_training_job(**request)
    return name


def wait_for_training(name: str, tell: Tell) -> TrainedJob:
    """Return when the job has completed, telling each step. Raises AwsError with its FailureReason if it does not."""
    told = 0
    deadline: float | None = None
    for _ in _polls():
        with clear(f"looking at the training job {name}"):
            job = sagemaker().describe_training_job(TrainingJobName=name)
        steps = job.get("SecondaryStatusTransitions", [])
        for step in steps[told:]:
            tell(f"{step['Status']}: {step.get('StatusMessage') or ''}".rstrip(": "))
        told = len(steps)
        status = job["TrainingJobStatus"]
        if status == "Completed":
            found = {each["MetricName"]: float(each["Value"]) for each in job.get("FinalMetricDataList", [])}
            return TrainedJob(name, job["ModelArtifacts"]["S3ModelArtifacts"], found)
        if status in {"Failed", "Stopped"}:
            reason = job.get("FailureReason") or job.get("SecondaryStatus") or "no reason given"
            raise AwsError(f"the training job {name} ended as {status}: {reason}")
        deadline = deadline or time.monotonic() + job["StoppingCondition"]["MaxRuntimeInSeconds"] + UPLOAD_SECONDS
        if time.monotonic() > deadline:
            raise AwsError(f"the training job {name} is still {status} long after its time limit; look at its log")
    raise AssertionError("unreachable")


def evaluation(job: TrainedJob) -> Any:
    """The report that a job wrote beside its model: evaluation.json in output.tar.gz. Raises AwsError."""
    url = f"{job.output_url}/output.tar.gz"
    try:
        with tarfile.open(fileobj=io.BytesIO(read(url)), mode="r:gz") as archive:
            file = archive.extractfile(REPORT)
            report = json.load(file) if file else None
    except KeyError:
        raise AwsError(f"{url} holds no {REPORT}; was the model trained with this project's image?") from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise AwsError(f"{url} holds no readable {REPORT}: {error}") from error
    if not report:  # which would pass any gate
        raise AwsError(f"{REPORT} in {url} is empty: nothing was measured, so nothing is known of the model")
    return report


# --- The registry ----------------------------------------------------------------------------------------


def register(
    group: str, *, image: str, model_data_url: str, report_url: str, metrics: Mapping[str, float], instance_type: str
) -> str:
    """Add a model to the registry, waiting for approval. Returns the package's ARN. Raises AwsError."""
    with clear(f"registering the model in {group}"):
        _ensure_group(group)
        package = sagemaker().create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": model_data_url}],
                "SupportedContentTypes": [CONTENT_TYPE],
                "SupportedResponseMIMETypes": [CONTENT_TYPE],
                "SupportedRealtimeInferenceInstanceTypes": [_instance(instance_type)],
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report_url}}},
            CustomerMetadataProperties={name: f"{value:.4f}" for name, value in metrics.items()},
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


# --- Endpoints -------------------------------------------------------------------------------------------


def deploy(
    arn: str,
    *,
    endpoint: str,
    role: str,
    instance_type: str,
    instances: int,
    capture_url: str,
    capture_percentage: int,
) -> str:
    """Create the endpoint with a registered model, or move it there. Returns the new configuration's name.

    Model and configuration are new each time and stay, so going back is deploying an older package. Raises AwsError.
    """
    name = f"{endpoint[:36]}-{arn.rpartition('/')[2]}-{_stamp()}".lower()
    with clear(f"deploying {arn}"):
        standing = _standing(endpoint)
        if standing and standing["EndpointStatus"] not in {"InService", "Failed"}:
            raise AwsError(f"the endpoint {endpoint} is {standing['EndpointStatus']}; wait until it is in service")
        if standing and standing["EndpointStatus"] == "Failed":  # all that AWS allows of a failed endpoint
            sagemaker().delete_endpoint(EndpointName=endpoint)
            _wait_until_gone(endpoint)
            standing = None
        sagemaker().create_model(ModelName=name, ExecutionRoleArn=role, Containers=[{"ModelPackageName": arn}])
        sagemaker().create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": VARIANT,
                    "ModelName": name,
                    "InstanceType": _instance(instance_type),
                    "InitialInstanceCount": instances,
                    "InitialVariantWeight": 1.0,
                }
            ],
            DataCaptureConfig={
                "EnableCapture": capture_percentage > 0,
                "InitialSamplingPercentage": capture_percentage,
                "DestinationS3Uri": capture_url,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                # Types that are not listed are captured as base64.
                "CaptureContentTypeHeader": {"JsonContentTypes": [CONTENT_TYPE]},
            },
        )
        if standing:
            sagemaker().update_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        else:
            sagemaker().create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
    return name


def wait_for_endpoint(endpoint: str, config_name: str, tell: Tell) -> None:
    """Return when the endpoint serves that configuration. Raises AwsError if it failed or was rolled back."""
    deadline = time.monotonic() + ENDPOINT_SECONDS
    told = ""
    for _ in _polls():
        with clear(f"looking at the endpoint {endpoint}"):
            found = sagemaker().describe_endpoint(EndpointName=endpoint)
        status, reason = found["EndpointStatus"], found.get("FailureReason", "no reason given")
        if status != told:
            tell(status)
            told = status
        if status == "InService":
            # SageMaker rolls a bad update back and is in service again: only the configuration's name tells.
            if found["EndpointConfigName"] != config_name:
                raise AwsError(f"the endpoint {endpoint} was rolled back to {found['EndpointConfigName']}: {reason}")
            return
        if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
            raise AwsError(f"the endpoint {endpoint} is {status}: {reason}")
        if time.monotonic() > deadline:
            raise AwsError(f"the endpoint {endpoint} is still {status} after {ENDPOINT_SECONDS / 60:.0f} minutes")


def status(endpoint: str) -> Endpoint | None:
    """What an endpoint serves; None if there is none of that name. Raises AwsError."""
    with clear(f"looking at the endpoint {endpoint}"):
        found = _standing(endpoint)
        if found is None:
            return None
        config = sagemaker().describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        served = []
        for variant in config["ProductionVariants"]:
            model = sagemaker().describe_model(ModelName=variant["ModelName"])
            served += [each.get("ModelPackageName", "") for each in model.get("Containers", [])]
    return Endpoint(
        name=endpoint,
        status=found["EndpointStatus"],
        config_name=found["EndpointConfigName"],
        changed=found["LastModifiedTime"],
        failure=found.get("FailureReason", ""),
        variants={
            each["VariantName"]: (each.get("CurrentWeight", 1.0), each.get("CurrentInstanceCount", 0))
            for each in found.get("ProductionVariants", [])
        },
        packages=tuple(filter(None, served)),
    )


# --- S3 --------------------------------------------------------------------------------------------------


def read(url: str) -> bytes:
    """An object's bytes. Raises AwsError."""
    bucket, key = _split(url)
    with clear(f"reading {url}"):
        return s3().get_object(Bucket=bucket, Key=key)["Body"].read()


def write_json(url: str, value: object) -> None:
    """Put a value as a JSON object. Raises AwsError."""
    bucket, key = _split(url)
    with clear(f"writing {url}"):
        s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(value).encode(), ContentType="application/json")


def require_export(url: str, marker: str) -> None:
    """Raise AwsError unless there is a finished export, so that no instance is paid for to find that out."""
    bucket, key = _split(f"{url.rstrip('/')}/{marker}")
    try:
        with clear(f"looking for the export {url}"):
            s3().head_object(Bucket=bucket, Key=key)
    except AwsError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in {"404", "NoSuchKey", "NoSuchBucket"}:
            raise AwsError(f"{url} is no finished export: it has no {marker}; run `manage.py export_events`") from None
        raise


# --- Inside ----------------------------------------------------------------------------------------------


def _stamp() -> str:
    """Sorts by time and never repeats."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _instance(name: str) -> Any:
    """boto3's types list the instance types of the day; which ones exist is for AWS to say."""
    return name


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise AwsError(f"{url!r} must be an address such as s3://bucket/folder")
    return parts.netloc, parts.path.lstrip("/")


def _polls() -> Iterator[None]:
    wait = SHORTEST_POLL
    while True:
        yield
        time.sleep(wait)
        wait = min(wait * 1.2, LONGEST_POLL)


def _is_missing(error: ClientError) -> bool:
    """SageMaker has no "not found" for most resources: only the message tells."""
    text = error.response["Error"].get("Message", "").lower()
    return error.response["Error"]["Code"] in {"ValidationException", "ResourceNotFound"} and (
        "could not find" in text or "does not exist" in text
    )


def _has_group(group: str) -> bool:
    try:
        sagemaker().describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if _is_missing(error):
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
    return Package(
        arn=arn,
        version=found.get("ModelPackageVersion", 0),
        status=found.get("ModelApprovalStatus", ""),
        created=found["CreationTime"],
        properties=found.get("CustomerMetadataProperties", {}),
    )


def _standing(endpoint: str) -> "DescribeEndpointOutputTypeDef | None":
    try:
        return sagemaker().describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if _is_missing(error):
            return None
        raise


def _wait_until_gone(endpoint: str) -> None:
    for _ in _polls():
        if _standing(endpoint) is None:
            return
