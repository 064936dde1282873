"""The endpoint in every bad mood: each becomes one typed error, in time, and one attempt."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from ml import contract
from recommender import answers, aws, cache, pending, queries, tasks
from recommender.tests.conftest import ROOT, free_port, wait_for
from recommender.tests.fakes import FakeEndpoint


def ask(target_variant: str | None = None) -> answers.Response:
    [wanted] = queries.build(["product:p1"], now=0.0)
    return aws.recommend({wanted.slate_id: wanted.query}, target_variant)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "READ_SECONDS", 0.4)
    monkeypatch.setattr(aws, "DEADLINE", 0.8)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("html", aws.EndpointNonsense),
        ("nonsense", aws.EndpointNonsense),
        ("version", aws.EndpointNonsense),
        ("other answers", aws.EndpointNonsense),
        ("424", aws.EndpointDown),
        ("refusing model", aws.EndpointRefused),
        ("throttle", aws.EndpointBusy),
        ("500", aws.EndpointDown),
        ("missing", aws.EndpointDown),
    ],
)
@pytest.mark.django_db
def test_each_fault_is_one_error_of_one_attempt(endpoint: FakeEndpoint, fault: str, error: type[Exception]) -> None:
    endpoint.fault = fault
    with pytest.raises(aws.EndpointError) as raised:
        ask()
    assert type(raised.value) is error
    assert len(endpoint.requests) == 1


@pytest.mark.django_db
def test_a_call_that_was_hung_up_on_is_made_once_more(endpoint: FakeEndpoint) -> None:
    endpoint.fault = "hang up"
    with pytest.raises(aws.EndpointDown):
        ask()
    assert len(endpoint.requests) == 2
    endpoint.fault = "hang up once"
    assert ask().answers


@pytest.mark.django_db
def test_the_deadline_is_one_for_both_attempts(endpoint: FakeEndpoint, impatient: None) -> None:
    endpoint.pause, endpoint.fault = 0.6, "hang up"
    with pytest.raises(aws.EndpointSlow):
        ask()


@pytest.mark.django_db
def test_an_answer_that_would_be_too_long_is_asked_for_in_halves(
    redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "MAX_BYTES", 60_000)
    pending.add([f"product:p{n}" for n in range(16)])
    assert tasks.refresh() == 16
    assert 2 < len(endpoint.requests) < 16
    assert cache.read(["product:p3"]).held["product:p3"].decoded().slates


@pytest.mark.django_db
def test_a_slow_endpoint_is_given_up(endpoint: FakeEndpoint, impatient: None) -> None:
    endpoint.fault = "slow"
    with pytest.raises(aws.EndpointSlow):
        ask()
    assert len(endpoint.requests) == 1


@pytest.mark.django_db
def test_a_dead_endpoint_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(aws.EndpointDown):
        ask()


@pytest.mark.django_db
def test_a_body_that_trickles_ends_at_the_deadline_and_holds_no_thread(endpoint: FakeEndpoint, impatient: None) -> None:
    endpoint.fault = "trickle"
    began = time.monotonic()
    with pytest.raises(aws.EndpointSlow, match="no complete answer"):
        ask()
    wait_for(lambda: endpoint.trickling == 0, 10)
    assert time.monotonic() - began < 15  # it would have gone on for 20 s
    endpoint.fault = ""
    assert ask().answers


@pytest.mark.django_db
def test_calls_overlap_and_share_one_client(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """pybreaker's usual way of calling holds a lock for as long as the call takes."""
    made: list[object] = []
    make = aws._made_runtime.__wrapped__
    monkeypatch.setattr(aws, "_made_runtime", _counting(make, made))
    [wanted] = queries.build(["product:p1"], now=0.0)
    asked = {wanted.slate_id: wanted.query}
    endpoint.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(aws.recommend, asked) for _ in range(4)]
        wait_for(lambda: endpoint.at_once == 4, 10)
        endpoint.gate.set()
        assert all(call.result().answers for call in calls)
    assert len(made) == 1


def _counting(make: Callable[[], object], made: list[object]) -> Callable[[], object]:
    from functools import cache

    @cache
    def counted() -> object:
        made.append(1)
        time.sleep(0.05)  # room for another thread to do the same
        return make()

    return counted


@pytest.mark.django_db
def test_after_five_failures_the_endpoint_is_left_alone_and_then_tried_again(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws._breaker, "_reset_timeout", 0.3)
    endpoint.fault = "500"
    for _ in range(5):
        with pytest.raises(aws.EndpointDown):
            ask()
    with pytest.raises(aws.EndpointDown, match="left alone"):
        ask()
    assert len(endpoint.requests) == 5
    assert aws.backoff() == 30
    endpoint.fault = ""
    time.sleep(0.4)
    assert ask().answers
    assert aws.backoff() == 1


@pytest.mark.django_db
def test_refusals_never_open_the_circuit(endpoint: FakeEndpoint) -> None:
    endpoint.fault = "refusing model"
    for _ in range(8):
        with pytest.raises(aws.EndpointRefused):
            ask()
    assert len(endpoint.requests) == 8


@pytest.mark.django_db
def test_the_call_is_signed_names_its_variant_and_carries_a_random_id(endpoint: FakeEndpoint) -> None:
    ask("challenger")
    ask()
    first, second = endpoint.headers
    assert first["X-Amzn-SageMaker-Target-Variant"] == "challenger"
    assert "X-Amzn-SageMaker-Target-Variant" not in second
    assert first["X-Amzn-SageMaker-Inference-Id"] != second["X-Amzn-SageMaker-Inference-Id"]
    assert "/sagemaker/aws4_request" in first["Authorization"]


@pytest.mark.parametrize("path", sorted((ROOT / "ml/tests/golden").glob("response*.json")), ids=lambda path: path.name)
def test_golden_answers_are_understood(path: Path) -> None:
    answer = path.read_bytes()
    asked = {one["slate_id"] for one in json.loads(answer)["answers"]}
    assert aws._checked(answer, asked).model_version


def test_there_is_a_golden_answer_of_this_version() -> None:
    assert list((ROOT / "ml/tests/golden").glob(f"response*{contract.VERSION}*.json"))


@pytest.mark.parametrize("url", ["https://somewhere/export", "export", "s3:///export"])
def test_an_export_address_that_is_none_says_so(tmp_path: Path, url: str) -> None:
    with pytest.raises(aws.UploadFailed, match="set EXPORT_URL"):
        aws.upload(tmp_path, url)


def test_an_upload_without_a_bucket_is_one_clear_error(s3: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(aws.UploadFailed, match="NoSuchBucket"):
        aws.upload(tmp_path / "file", "s3://nowhere/file")
