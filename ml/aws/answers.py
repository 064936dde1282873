"""Asking the endpoint, as the shop would."""

from ml.aws.client import clear, runtime
from ml.contract import CONTENT_TYPE


def ask(endpoint: str, body: bytes) -> bytes:
    """The model's answer. Raises AwsError if there is none, the model's own failure included."""
    with clear(f"asking {endpoint}"):
        answer = runtime().invoke_endpoint(EndpointName=endpoint, ContentType=CONTENT_TYPE, Body=body)
        return answer["Body"].read()
