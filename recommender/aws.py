"""The only boto3 on-prem: ask the endpoint, upload a file.

The other side of ``recommend`` is ``ml.serve`` behind SageMaker's InvokeEndpoint; what both must agree on is
``ml.contract``. HTTP, botocore and their errors stay in here: callers meet the family of EndpointError alone.
boto3 is imported where it is used, so that a web process, which never comes here, never loads it.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import pybreaker
from django.conf import settings

from ml import contract
from recommender import answers, counters

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 0.5
READ_SECONDS = 2.0  # for one read of the socket: a body that trickles never reaches it
DEADLINE = 3.0  # for the whole call, whatever happens
_THREADS = 8  # twice the refresh worker's, so that calls given up but not yet dead hold up no new ones


class EndpointError(Exception):
    """The endpoint gave no answer that can be used."""


class EndpointDown(EndpointError):
    """Unreachable, missing, failing, or left alone for a while because it was failing."""


class EndpointSlow(EndpointError):
    """No complete answer before the deadline."""


class EndpointBusy(EndpointError):
    """It asks for fewer calls."""


class EndpointNonsense(EndpointError):
    """It answered with something that breaks the contract, or speaks another version of it."""


class EndpointRefused(EndpointError):
    """It is well and says that our request is wrong. Asking again would not help."""


class UploadFailed(Exception):
    """S3 did not take the file."""


# A refusal says that the endpoint is alive. Our own errors leave as they are, never as the breaker's.
_breaker = pybreaker.CircuitBreaker(
    fail_max=5, reset_timeout=10, exclude=[EndpointRefused], throw_new_error_on_trip=False, name="endpoint"
)
_lock = Lock()


def recommend(queries: Mapping[str, bytes], target_variant: str | None = None) -> answers.Response:
    """Ask in one invocation, within DEADLINE, with encoded queries by slate_id. Raises an EndpointError.

    One attempt, and a second at once where the endpoint hung up. All other retries belong to the pending set, which
    collapses what is asked again and backs off; nothing is hedged, since nobody waits for this answer.
    """
    body = orjson.dumps({"version": contract.VERSION, "queries": [*map(orjson.Fragment, queries.values())]})
    began = time.monotonic()
    try:
        with _guarded():
            answer = _within_deadline(body, target_variant)
            counters.observe("invocation_seconds", [time.monotonic() - began])
            return _checked(answer, queries.keys())
    except EndpointError as error:
        counters.count("failures", label=type(error).__name__)
        raise
    finally:
        counters.tell("breaker", _breaker.current_state)


def backoff() -> int:
    """Seconds to leave the endpoint alone after a failure: longer with each in a row."""
    return int(min(2 ** min(_breaker.fail_counter, 5), 30))


def upload(path: Path, url: str) -> None:
    """Put a file at an s3:// URL. Raises UploadFailed. Retries are botocore's, for nothing above repeats an upload."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = _place(url)
    try:
        _s3().upload_file(str(path), bucket, key)
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise UploadFailed(f"{url}: {error}") from error


def remove_others(prefix: str, keep: set[str]) -> None:
    """Remove what lies under an s3:// prefix and is not among these URLs. Raises UploadFailed."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key_prefix = _place(prefix)
    try:
        for page in _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key_prefix):
            for entry in page.get("Contents", []):
                if f"s3://{bucket}/{entry['Key']}" not in keep:
                    _s3().delete_object(Bucket=bucket, Key=entry["Key"])
    except (BotoCoreError, ClientError) as error:
        raise UploadFailed(f"{prefix}: {error}") from error


@contextmanager
def _guarded() -> Iterator[None]:
    """The circuit breaker. Its ``call`` holds a lock for as long as the call takes, which would put drains one
    behind the other; ``calling`` takes the lock before and after."""
    try:
        with _breaker.calling():
            yield
    except pybreaker.CircuitBreakerError as error:
        raise EndpointDown(f"left alone after {_breaker.fail_counter} failures") from error


class _Call:
    """One invocation in a thread of its own, which the asker can give up."""

    def __init__(self, body: bytes, target_variant: str | None) -> None:
        self.client = _runtime()  # made before the clock starts: the first one takes a while
        self.body = body
        self.target_variant = target_variant
        self.stream: Any = None
        self.given_up = False

    def run(self) -> bytes:
        from botocore.exceptions import ConnectionClosedError

        try:
            return self._ask()
        except ConnectionClosedError:
            # So it looks when a connection that was kept alive is closed while it is taken up again. Asking twice
            # does no harm, and the deadline is one for both.
            if self.given_up:
                raise
            return self._ask()

    def _ask(self) -> bytes:
        # Random, and of the batch only: it joins captured data with logs and says nothing about a shopper.
        variant = {"TargetVariant": self.target_variant} if self.target_variant else {}
        response = self.client.invoke_endpoint(
            EndpointName=settings.RECOMMENDER["ENDPOINT"],
            ContentType=contract.CONTENT_TYPE,
            Accept=contract.CONTENT_TYPE,
            InferenceId=uuid.uuid4().hex,
            Body=self.body,
            **variant,
        )
        self.stream = response["Body"]
        if self.given_up:
            self._starve()
        answer: bytes = self.stream.read(contract.MAX_BYTES + 1)
        return answer

    def give_up(self) -> None:
        self.given_up = True
        if self.stream is not None:
            self._starve()

    def _starve(self) -> None:
        """Let the thread's next read time out at once, or a body that trickles would hold it for ever.

        Not ``close``: that waits for the read which it is meant to end.
        """
        with suppress(AttributeError, OSError):  # already read to its end, or closed
            self.stream.set_socket_timeout(0.001)


def _within_deadline(body: bytes, target_variant: str | None) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

    call = _Call(body, target_variant)
    asked = time.monotonic()
    future: Future[bytes] = _executor().submit(call.run)
    try:
        return future.result(timeout=DEADLINE)
    except FutureTimeout:
        future.cancel()
        call.give_up()
        raise EndpointSlow(f"no complete answer in {time.monotonic() - asked:.1f} s") from None
    except ClientError as error:
        raise _classified(error) from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise EndpointSlow(str(error)) from error
    except BotoCoreError as error:
        raise EndpointDown(str(error)) from error


def _classified(error: Any) -> EndpointError:
    """What a botocore ClientError means. SageMaker wraps what the container said in a ModelError (424)."""
    response = error.response
    code = response.get("Error", {}).get("Code", "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    original = response.get("OriginalStatusCode", status if code == str(status) else 0)
    message = f"{code}: {response.get('OriginalMessage') or response.get('Error', {}).get('Message', '')}"[:500]
    if code in {"ThrottlingException", "ModelNotReadyException"} or 429 in {status, original}:
        return EndpointBusy(message)
    if code == "ModelError" and original == 0:  # SageMaker's word for a container that took more than 60 s
        return EndpointSlow(message)
    if 400 <= original < 500:
        return EndpointRefused(message)
    return EndpointDown(message)


def _checked(answer: bytes, slate_ids: Set[str]) -> answers.Response:
    if len(answer) > contract.MAX_BYTES:
        raise EndpointRefused(f"the answer to {len(slate_ids)} queries is longer than the contract lets it be")
    try:
        response = answers.decoded(answer)
    except contract.ContractError as error:
        if error.field == "version":
            logger.error("The endpoint speaks another version of the contract: %s", error)
        raise EndpointNonsense(str(error)) from error
    if {one.slate_id for one in response.answers} != slate_ids:
        raise EndpointNonsense("answers: not of the queries that were asked")
    return response


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise UploadFailed(f"{url!r} is not an s3://bucket/key address: set EXPORT_URL to one")
    return parts.netloc, parts.path.lstrip("/")


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="endpoint")


@cache
def _made_runtime() -> "SageMakerRuntimeClient":
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "sagemaker-runtime",
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=_THREADS,
            tcp_keepalive=True,
            # Named, for botocore's default mode retries five times and is about to change.
            retries={"mode": "standard", "total_max_attempts": 1},
            parameter_validation=False,  # what we send has the contract's types
        ),
    )


@cache
def _made_s3() -> "S3Client":
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        config=Config(connect_timeout=3, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4}),
    )


def _runtime() -> "SageMakerRuntimeClient":
    """One client for each process, made at its first use: clients are safe for threads, making them is not."""
    with _lock:
        return _made_runtime()


def _s3() -> "S3Client":
    with _lock:
        return _made_s3()
