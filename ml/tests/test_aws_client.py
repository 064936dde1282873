"""What all requests share: one session, and each failure as one clear line."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)
from botocore.stub import Stubber

from ml.aws import client, endpoints, registry
from ml.aws.client import AwsError
from ml.tests.names import ARN


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("AccessDeniedException", "give the caller that permission"),
        ("ExpiredTokenException", "renew the credentials"),
        ("ResourceInUse", "that name is taken"),
        ("ResourceLimitExceeded", "ask AWS for a higher quota"),
    ],
)
def test_refusal_names_what_was_tried_and_the_cure(sagemaker: Stubber, code: str, cure: str) -> None:
    sagemaker.add_client_error("update_model_package", code, "it is not allowed")
    with pytest.raises(AwsError, match=f"approving {ARN}: it is not allowed; {cure}") as caught:
        registry.approve(ARN, "because")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoRegionError(), "set AWS_DEFAULT_REGION"),
        (NoCredentialsError(), "set AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url="https://api.sagemaker"), "check the network and AWS_ENDPOINT_URL"),
        (ValueError("Invalid endpoint: https://api.sagemaker..amazonaws.com"), "check AWS_DEFAULT_REGION"),
        (ClientError({"Error": {"Code": "Odd"}}, "Do"), "trying: Odd"),
        (
            ParamValidationError(report="Invalid length for Name\nInvalid range for Count"),
            "Name; Invalid range for Count$",
        ),
    ],
)
def test_nothing_of_botocore_gets_out(error: Exception, words: str) -> None:
    with pytest.raises(AwsError, match=words), client.clear("trying"):
        raise error


def test_missing_region_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for cached in (client.session, client.sagemaker):
        cached.cache_clear()
    try:
        with pytest.raises(AwsError, match="no AWS region is known; set AWS_DEFAULT_REGION"):
            endpoints.status("aisle")
    finally:
        client.session.cache_clear()


def test_one_session_serves_the_whole_process() -> None:
    makers: list[Callable[[], Any]] = [
        client.session,
        client.sagemaker,
        client.s3,
        client.runtime,
        client.cloudwatch,
        client.autoscaling,
    ]
    assert all(make() is make() for make in makers)
