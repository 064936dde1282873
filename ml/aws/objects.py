"""What lies in S3."""

import json
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from ml.aws.client import AwsError, clear, s3


def read(url: str) -> bytes:
    """An object's bytes. Raises AwsError."""
    bucket, key = _split(url)
    with clear(f"reading {url}"):
        return s3().get_object(Bucket=bucket, Key=key)["Body"].read()


def write(url: str, body: bytes, content_type: str = "application/gzip") -> None:
    """Put an object. Raises AwsError."""
    bucket, key = _split(url)
    with clear(f"writing {url}"):
        s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)


def write_json(url: str, value: object) -> None:
    """Put a value as a JSON object. Raises AwsError."""
    write(url, json.dumps(value).encode(), "application/json")


def require_export(url: str, marker: str) -> None:
    """Raise AwsError unless there is a finished export, so that no instance is paid for to find that out."""
    bucket, key = _split(url)
    key = f"{key.rstrip('/')}/{marker}".lstrip("/")
    try:
        with clear(f"looking for the export {url}"):
            s3().head_object(Bucket=bucket, Key=key)
    except AwsError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in {"404", "NoSuchKey", "NoSuchBucket"}:
            raise AwsError(f"{url} is no finished export: it has no {marker}; run `manage.py export_events`") from None
        raise


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise AwsError(f"{url!r} must be an address such as s3://bucket/folder")
    return parts.netloc, parts.path.lstrip("/")
