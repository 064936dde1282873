"""What lies in S3."""

import json

import pytest
from botocore.stub import Stubber

from ml.aws import objects
from ml.aws.client import AwsError


def test_export_without_its_marker_costs_no_training(s3: Stubber) -> None:
    s3.add_client_error("head_object", "404", "Not Found", 404)
    with pytest.raises(AwsError, match="s3://aisle/export is no finished export: it has no _SUCCESS"):
        objects.require_export("s3://aisle/export", "_SUCCESS")


def test_export_that_may_not_be_read_says_so(s3: Stubber) -> None:
    s3.add_client_error("head_object", "403", "Forbidden", 403)
    with pytest.raises(AwsError, match="looking for the export s3://aisle/export: Forbidden"):
        objects.require_export("s3://aisle/export", "_SUCCESS")


@pytest.mark.parametrize("url", ["export", "https://aisle/export", "s3:///export", ""])
def test_address_that_is_not_of_s3_is_refused(url: str) -> None:
    with pytest.raises(AwsError, match="must be an address such as s3://bucket/folder"):
        objects.read(url)


def test_json_is_written_as_json(s3: Stubber) -> None:
    wanted = {
        "Bucket": "aisle",
        "Key": "report.json",
        "Body": json.dumps({"a": 1}).encode(),
        "ContentType": "application/json",
    }
    s3.add_response("put_object", {}, wanted)
    objects.write_json("s3://aisle/report.json", {"a": 1})
