"""The launcher's own few questions to the local cloud, asked through boto3 like everybody's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from deploy.local.environment import REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

PATIENT = Config(connect_timeout=2, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})


def _session(env: Mapping[str, str]) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


def create_bucket(env: Mapping[str, str]) -> None:
    """The bucket that CloudFormation would have made, unless it is there."""
    s3: S3Client = _session(env).client("s3", endpoint_url=env["AWS_ENDPOINT_URL"], config=PATIENT)
    if env["AISLE_BUCKET"] not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=env["AISLE_BUCKET"], CreateBucketConfiguration={"LocationConstraint": REGION})


class Endpoint:
    """The recommender's endpoint, as its control plane sees it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._name = env["RECOMMENDER_ENDPOINT"]
        self._sagemaker: SageMakerClient = _session(env).client(
            "sagemaker", endpoint_url=env["AWS_ENDPOINT_URL"], config=PATIENT
        )

    def status(self) -> str:
        """SageMaker's word for it, "" if there is no such endpoint."""
        try:
            return str(self._sagemaker.describe_endpoint(EndpointName=self._name)["EndpointStatus"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return ""
            raise
