"""Asking the endpoint, as the shop would."""

from botocore.exceptions import BotoCoreError, ClientError

from ml.aws.client import AwsError, runtime
from ml.contract import CONTENT_TYPE


class NoAnswer(AwsError):
    """The endpoint cannot be asked, or refuses; not a word about the model."""


class BadAnswer(AwsError):
    """The model behind the endpoint failed."""


def ask(endpoint: str, body: bytes) -> bytes:
    """The model's answer. Raises BadAnswer if the model is to blame, else NoAnswer."""
    try:
        answer = runtime().invoke_endpoint(EndpointName=endpoint, ContentType=CONTENT_TYPE, Body=body)
        return answer["Body"].read()
    except ClientError as error:
        blamed = error.response["Error"]["Code"] == "ModelError"
        raise (BadAnswer if blamed else NoAnswer)(f"asking {endpoint}: {error}") from error
    except (BotoCoreError, ValueError) as error:
        raise NoAnswer(f"asking {endpoint}: {error}") from error
