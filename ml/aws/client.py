"""boto3's clients, made once, and what all requests share: errors in one line, names, and how often to look."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ParamValidationError

from ml.errors import MlError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# botocore's own defaults wait 60 s for a connection, and its retry mode may change: so both are said.
CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
# A question to a model is asked once, and a model that takes longer has answered badly.
IMPATIENT = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 1})
SHORTEST_POLL, LONGEST_POLL = 0.5, 15.0  # seconds between two looks: quick on short work, gentle on long

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


@cache
def session() -> boto3.Session:
    """One for each process: finding credentials and reading service models is what costs time."""
    return boto3.Session()


@cache
def sagemaker() -> "SageMakerClient":
    """Raises what ``clear`` translates, as do the other clients."""
    return session().client("sagemaker", config=CONFIG)


@cache
def runtime() -> "SageMakerRuntimeClient":
    return session().client("sagemaker-runtime", config=IMPATIENT)


@cache
def cloudwatch() -> "CloudWatchClient":
    return session().client("cloudwatch", config=CONFIG)


@cache
def autoscaling() -> Any:  # its stubs would be one more dependency for four calls
    return session().client("application-autoscaling", config=CONFIG)


@cache
def logs() -> Any:  # nor for these two
    return session().client("logs", config=CONFIG)


@cache
def s3() -> "S3Client":
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
    except ParamValidationError as error:
        raise AwsError(f"{doing}: {'; '.join(str(error.kwargs['report']).splitlines())}") from error
    except BotoCoreError as error:
        raise AwsError(f"{doing}: {error}; check the network and AWS_ENDPOINT_URL") from error
    except ValueError as error:  # so botocore calls an address or a region that cannot be one
        raise AwsError(f"{doing}: {error}; check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL") from error


def is_missing(error: ClientError) -> bool:
    """SageMaker has no "not found" for most resources: only the message tells."""
    text = error.response["Error"].get("Message", "").lower()
    return error.response["Error"]["Code"] in {"ValidationException", "ResourceNotFound"} and (
        "could not find" in text or "does not exist" in text
    )


def stamp() -> str:
    """Sorts by time and never repeats."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def instance(name: str) -> Any:
    """boto3's types list the instance types of the day; which ones exist is for AWS to say."""
    return name


def polls() -> Iterator[None]:
    """Look, wait a little longer each time, look again."""
    wait = SHORTEST_POLL
    while True:
        yield
        time.sleep(wait)
        wait = min(wait * 1.2, LONGEST_POLL)
