"""The data plane as boto3 meets it: answers, errors, capture, metrics, and faults on purpose."""

import http.client
import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from deploy.local import capture, runtime
from deploy.local.capture import Capture
from deploy.local.tests.conftest import CAPTURE, Aws, LocalCloud, eventually


@pytest.fixture
def served(aws: Aws) -> Aws:
    aws.serve()
    return aws


def fail(cloud: LocalCloud, **faults: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{cloud.runtime_url}/local-cloud/faults", json.dumps(faults).encode())
    with urllib.request.urlopen(request) as response:
        shown: dict[str, Any] = json.load(response)
        return shown


def test_answer_has_the_headers_that_sagemaker_sends(served: Aws) -> None:
    answer = served.runtime.invoke_endpoint(EndpointName="aisle", ContentType="application/json", Body=b"hello")

    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "main"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-local-cloud"] == "stand-in"
    assert "stand-in for AWS" in answer["ResponseMetadata"]["HTTPHeaders"]["server"]
    assert json.loads(answer["Body"].read())["asked"] == "hello"


def test_unsigned_call_is_refused(served: Aws, cloud: LocalCloud) -> None:
    request = urllib.request.Request(f"{cloud.runtime_url}/endpoints/aisle/invocations", b"hello")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert error.code == 403
        assert error.headers["x-amzn-ErrorType"] == "MissingAuthenticationToken"


def test_unknown_endpoint_is_a_validation_error(aws: Aws) -> None:
    with pytest.raises(
        aws.runtime.exceptions.ValidationError, match="Endpoint aisle of account 123456789012 not found"
    ):
        aws.invoke()


def test_endpoint_of_another_region_is_not_found(served: Aws, cloud: LocalCloud) -> None:
    elsewhere = served._session.client("sagemaker-runtime", region_name="us-east-1", endpoint_url=cloud.runtime_url)
    with pytest.raises(elsewhere.exceptions.ValidationError, match="not found"):
        elsewhere.invoke_endpoint(EndpointName="aisle", Body=b"hello")
    elsewhere.close()


def test_large_body_passes_and_one_past_the_limit_is_refused(served: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"x" * 3_000_000
    assert len(served.invoke(body)["asked"]) == len(body)

    monkeypatch.setattr(runtime, "MOST_BYTES", 1_000_000)
    with pytest.raises(ClientError, match="HTTP content length exceeded 1000000 bytes") as caught:
        served.invoke(body)
    assert caught.value.response["Error"]["Code"] == "413"


def test_container_s_refusal_is_a_model_error_with_its_words(served: Aws) -> None:
    with pytest.raises(served.runtime.exceptions.ModelError, match=r"Received client error \(400\)") as caught:
        served.invoke(b"wrong")
    assert caught.value.response["OriginalStatusCode"] == 400
    assert json.loads(caught.value.response["OriginalMessage"]) == {"error": "queries: must be a list"}
    assert caught.value.response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/aisle")


def test_container_that_takes_too_long_is_a_model_error_of_status_0(
    aws: Aws, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "MODEL_SECONDS", 0.3)
    cloud.restart()
    aws.serve()
    with pytest.raises(aws.runtime.exceptions.ModelError, match="timed out") as caught:
        aws.invoke(b"sleep 1")
    assert caught.value.response["OriginalStatusCode"] == 0


def test_connections_are_kept_open(cloud: LocalCloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", cloud.runtime_port)
    for _ in range(2):
        connection.request("GET", "/local-cloud/faults")
        response = connection.getresponse()
        response.read()
        assert not response.will_close
        assert connection.sock is not None
    connection.close()


# --- Capture and metrics ---------------------------------------------------------------------------------


def captured(aws: Aws) -> list[tuple[str, dict[str, Any]]]:
    found = aws.s3.list_objects_v2(Bucket="aisle", Prefix="capture/").get("Contents", [])
    lines = []
    for each in found:
        body = aws.s3.get_object(Bucket="aisle", Key=each["Key"])["Body"].read()
        lines += [(each["Key"], json.loads(line)) for line in body.splitlines()]
    return lines


def test_calls_are_captured_where_and_how_model_monitor_expects_them(served: Aws) -> None:
    before = datetime.now(UTC)
    served.invoke(b'{"version":1}', InferenceId="batch-1")
    (key, line), *others = eventually(lambda: captured(served))

    assert not others
    assert key.startswith(f"capture/aisle/main/{before:%Y/%m/%d}/")
    assert key.endswith(".jsonl")
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "application/json", "mode": "INPUT", "data": '{"version":1}', "encoding": "JSON",
    }  # fmt: skip
    assert line["captureData"]["endpointOutput"]["encoding"] == "JSON"
    assert json.loads(line["captureData"]["endpointOutput"]["data"])["model"] == "well"
    assert line["eventMetadata"]["inferenceId"] == "batch-1"
    assert line["eventVersion"] == "0"


def test_failed_calls_are_not_captured(served: Aws) -> None:
    with pytest.raises(served.runtime.exceptions.ModelError):
        served.invoke(b"wrong")
    served.invoke(b"right")

    lines = eventually(lambda: captured(served))
    assert [line["captureData"]["endpointInput"]["data"] for _, line in lines] == ["right"]


def test_content_types_that_are_not_listed_are_captured_as_base64(served: Aws) -> None:
    served.invoke(b"hello", ContentType="application/x-npy")

    (_, line), *_ = eventually(lambda: captured(served))
    assert line["captureData"]["endpointInput"]["data"] == "aGVsbG8="
    assert line["captureData"]["endpointInput"]["encoding"] == "BASE64"


def test_capture_stops_before_it_fills_the_disk(served: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MOST_KEPT", 2_000)
    for _ in range(4):
        served.invoke(b"x" * 400)
        eventually(lambda: captured(served))
        time.sleep(0.15)  # one file for each call

    assert 1 <= len(captured(served)) <= 2
    assert served.invoke()["model"] == "well"


@pytest.mark.parametrize(("percentage", "expected"), [(100, 200), (0, 0)])
def test_sampling_decides_what_is_captured(percentage: int, expected: int) -> None:
    settings = {**CAPTURE, "InitialSamplingPercentage": percentage}
    assert sum(Capture.wants(settings) for _ in range(200)) == expected


def test_half_the_calls_are_captured_at_fifty_percent() -> None:
    settings = {**CAPTURE, "InitialSamplingPercentage": 50}
    assert 800 < sum(Capture.wants(settings) for _ in range(2_000)) < 1_200


def total(aws: Aws, metric: str, variant: str = "main") -> tuple[float, float]:
    """(sum, samples) of an endpoint metric."""
    now = datetime.now(UTC)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": "aisle"}, {"Name": "VariantName", "Value": variant}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points), sum(point["SampleCount"] for point in points)


def test_calls_become_cloudwatch_metrics(served: Aws) -> None:
    served.invoke(b"sleep 0.2")
    with pytest.raises(served.runtime.exceptions.ModelError):
        served.invoke(b"wrong")
    eventually(lambda: total(served, "Invocations") == (2, 2))

    assert total(served, "Invocation4XXErrors") == (1, 2)
    assert total(served, "Invocation5XXErrors") == (0, 2)
    assert total(served, "InvocationModelErrors") == (1, 2)
    assert total(served, "ModelLatency")[0] > 200_000  # microseconds
    assert total(served, "OverheadLatency")[1] == 2


# --- Faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"error_rate": 1}, "ServiceUnavailable"),
        ({"throttle_rate": 1}, "ThrottlingException"),
        ({"model_error_rate": 1}, "ModelError"),
    ],
)
def test_faults_are_errors_as_aws_makes_them_until_they_are_ended(
    served: Aws, cloud: LocalCloud, faults: dict[str, float], code: str
) -> None:
    fail(cloud, **faults)
    with pytest.raises(ClientError) as caught:
        served.invoke()
    assert caught.value.response["Error"]["Code"] == code

    fail(cloud)
    assert served.invoke()["model"] == "well"


def test_nonsense_is_an_answer_that_is_none(served: Aws, cloud: LocalCloud) -> None:
    fail(cloud, nonsense_rate=1)
    answer = served.runtime.invoke_endpoint(EndpointName="aisle", Body=b"hello")
    assert answer["ContentType"] == "text/html"
    assert b"nonsense" in answer["Body"].read()


def test_round_trip_time_is_added_to_every_call(served: Aws, cloud: LocalCloud) -> None:
    fail(cloud, round_trip_ms=300)
    began = time.monotonic()
    served.invoke()
    assert time.monotonic() - began >= 0.3
    eventually(lambda: total(served, "Invocations")[1] == 1)
    assert total(served, "OverheadLatency")[0] < 300_000  # the line is neither the model's nor SageMaker's time


def test_reset_connections_are_cut(served: Aws, cloud: LocalCloud) -> None:
    fail(cloud, outage="reset")
    with pytest.raises(ConnectionClosedError):
        served.invoke()


def test_silent_endpoint_never_answers(served: Aws, cloud: LocalCloud) -> None:
    fail(cloud, outage="silent")
    impatient = served._session.client(
        "sagemaker-runtime",
        endpoint_url=cloud.runtime_url,
        config=Config(read_timeout=0.5, retries={"mode": "standard", "total_max_attempts": 1}),
    )
    with pytest.raises(ReadTimeoutError):
        impatient.invoke_endpoint(EndpointName="aisle", Body=b"hello")
    impatient.close()
    fail(cloud)
    assert served.invoke()["model"] == "well"


@pytest.mark.parametrize(
    ("faults", "field"),
    [
        ({"round_trip_ms": -1}, "round_trip_ms"),
        ({"jitter_ms": "3"}, "jitter_ms"),
        ({"error_rate": 1.5}, "error_rate"),
        ({"throttle_rate": True}, "throttle_rate"),
        ({"outage": "often"}, "outage"),
        ({"lattency": 1}, "lattency"),
        ({"error_rate": 0.6, "nonsense_rate": 0.6}, "error_rate"),
        ([], "body"),
    ],
)
def test_bad_faults_are_refused_by_name_and_change_nothing(cloud: LocalCloud, faults: Any, field: str) -> None:
    fail(cloud, jitter_ms=2)
    request = urllib.request.Request(f"{cloud.runtime_url}/local-cloud/faults", json.dumps(faults).encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert error.code == 400
        assert field in json.load(error)["field"]
    with urllib.request.urlopen(f"{cloud.runtime_url}/local-cloud/faults") as response:
        assert json.load(response)["jitter_ms"] == 2
