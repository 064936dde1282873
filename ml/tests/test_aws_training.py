"""Training jobs: each request as botocore's own model checks it, each end as it is told."""

import io
import tarfile
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from ml.aws import client, training
from ml.aws.client import AwsError
from ml.aws.logs import Log
from ml.tests.names import IMAGE, JOB, NOW, ROLE


def train(**changes: Any) -> str:
    request: dict[str, Any] = {
        "image": IMAGE,
        "role": ROLE,
        "export_url": "s3://aisle/export",
        "output_url": "s3://aisle/models/",
        "fleet": training.Fleet(max_seconds=600),
        "hyperparameters": {"candidates": "50"},
        "metrics": [("novel:recall@20", "novel:recall@20=([0-9.]+)")],
    }
    return training.train(**{**request, **changes})


def expected_training() -> dict[str, Any]:
    return {
        "TrainingJobName": ANY,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "novel:recall@20", "Regex": "novel:recall@20=([0-9.]+)"}],
        },
        "HyperParameters": {"candidates": "50"},
        "InputDataConfig": [
            {
                "ChannelName": "export",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://aisle/export/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://aisle/models"},
        "ResourceConfig": {"InstanceType": "ml.m6i.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def test_training_job_reads_the_export_and_knows_its_metrics(sagemaker: Stubber) -> None:
    sagemaker.add_response("create_training_job", {"TrainingJobArn": "arn:…"}, expected_training())
    name = train()

    assert name.startswith("aisle-2")
    assert name == name.lower()
    assert len(name) <= 63


def test_spot_job_keeps_checkpoints_of_its_own_and_waits_a_day_more(sagemaker: Stubber) -> None:
    expected = {
        **expected_training(),
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 87_000},
        "CheckpointConfig": ANY,
    }
    sagemaker.add_response("create_training_job", {"TrainingJobArn": "arn:…"}, expected)
    requests: list[dict[str, Any]] = []
    client.sagemaker().meta.events.register(
        "provide-client-params.sagemaker.CreateTrainingJob", lambda params, **_: requests.append(params)
    )
    name = train(fleet=training.Fleet(spot=True, max_seconds=600))

    assert requests[0]["CheckpointConfig"] == {"S3Uri": f"s3://aisle/models/{name}/checkpoints"}


def test_job_of_several_hosts_asks_for_them(sagemaker: Stubber) -> None:
    hosts = {"InstanceType": "ml.c7i.large", "InstanceCount": 4, "VolumeSizeInGB": 30}
    sagemaker.add_response(
        "create_training_job", {"TrainingJobArn": "arn:…"}, {**expected_training(), "ResourceConfig": hosts}
    )
    train(fleet=training.Fleet("ml.c7i.large", hosts=4, max_seconds=600))


def job(status: str, *steps: str, **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "aisle-1",
        "TrainingJobArn": JOB.arn,
        "InputDataConfig": expected_training()["InputDataConfig"],
        "ModelArtifacts": {"S3ModelArtifacts": JOB.model_data_url},
        "TrainingJobStatus": status,
        "SecondaryStatus": steps[-1] if steps else status,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CreationTime": NOW,
        "SecondaryStatusTransitions": [
            {"Status": step, "StartTime": NOW, "StatusMessage": f"{step} now"} for step in steps
        ],
        **changes,
    }


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that say nothing, but where a test is about what they say."""
    monkeypatch.setattr(training, "Log", lambda *_: Silent())


class Silent:
    def lines(self) -> list[str]:
        return []


def test_waiting_tells_each_step_once_and_returns_model_and_metrics(sagemaker: Stubber) -> None:
    final = [{"MetricName": "novel:recall@20", "Value": 0.25, "Timestamp": NOW}]
    for answer in (
        job("InProgress", "Starting"),
        job("InProgress", "Starting"),
        job("InProgress", "Starting", "Downloading", "Training"),
        job("Completed", "Starting", "Downloading", "Training", "Completed", FinalMetricDataList=final),
    ):
        sagemaker.add_response("describe_training_job", answer, {"TrainingJobName": "aisle-1"})
    told: list[str] = []
    done = training.wait_for_training("aisle-1", told.append)

    assert [line.partition(":")[0] for line in told] == ["Starting", "Downloading", "Training", "Completed"]
    assert (done.model_data_url, done.metrics) == (JOB.model_data_url, {"novel:recall@20": 0.25})
    assert (done.arn, done.data_url) == (JOB.arn, "s3://aisle/export/")
    assert done.output_url == "s3://aisle/models/aisle-1/output"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            job("Failed", "Failed", FailureReason="AlgorithmError: events is empty"),
            "Failed: AlgorithmError: events is empty",
        ),
        (job("Stopped", "MaxRuntimeExceeded"), "Stopped: MaxRuntimeExceeded"),
    ],
)
def test_job_that_does_not_complete_is_an_error_with_its_reason(
    sagemaker: Stubber, answer: dict[str, Any], words: str
) -> None:
    sagemaker.add_response("describe_training_job", answer)
    with pytest.raises(AwsError, match=words):
        training.wait_for_training("aisle-1", lambda text: None)


def test_spot_job_tells_what_it_saved(sagemaker: Stubber) -> None:
    times = {"EnableManagedSpotTraining": True, "TrainingTimeInSeconds": 500, "BillableTimeInSeconds": 150}
    sagemaker.add_response("describe_training_job", job("Completed", "Interrupted", "Completed", **times))
    told: list[str] = []
    training.wait_for_training("aisle-1", told.append)

    assert told[-1] == "trained 500 s, billed 150 s: Spot saved 70%"


def test_job_whose_log_may_not_be_read_is_waited_for_all_the_same(
    sagemaker: Stubber, logs: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Log", Log)
    logs.add_client_error("describe_log_streams", "AccessDeniedException", "not authorized")
    sagemaker.add_response("describe_training_job", job("InProgress", "Training"))
    sagemaker.add_response("describe_training_job", job("Completed", "Training", "Completed"))
    told: list[str] = []

    assert training.wait_for_training("aisle-1", told.append).name == "aisle-1"
    assert "not authorized; give the caller that permission" in told[0]


def test_stopping_names_the_job(sagemaker: Stubber) -> None:
    sagemaker.add_response("stop_training_job", {}, {"TrainingJobName": "aisle-1"})
    training.stop("aisle-1")


def test_job_that_never_ends_is_given_up_after_its_own_limit(
    sagemaker: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "UPLOAD_SECONDS", -601.0)
    sagemaker.add_response("describe_training_job", job("InProgress", "Training"))
    with pytest.raises(AwsError, match="still InProgress"):
        training.wait_for_training("aisle-1", lambda text: None)


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def put_output(s3: Stubber, body: bytes) -> None:
    stream = StreamingBody(io.BytesIO(body), len(body))
    wanted = {"Bucket": "aisle", "Key": "models/aisle-1/output/output.tar.gz"}
    s3.add_response("get_object", {"Body": stream}, wanted)


def test_report_is_read_from_what_the_job_left(s3: Stubber) -> None:
    put_output(s3, packed("evaluation.json", b'{"novel": {"aisle": {"recall@20": 0.25}}}'))
    assert training.evaluation(JOB) == {"novel": {"aisle": {"recall@20": 0.25}}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (packed("other.json", b"{}"), "holds no evaluation.json"),
        (packed("evaluation.json", b"{not json"), "no readable evaluation.json"),
        (packed("evaluation.json", b"{}"), "nothing was measured"),
        (b"no archive", "no readable evaluation.json"),
    ],
)
def test_report_that_is_none_is_an_error_and_never_a_pass(s3: Stubber, body: bytes, words: str) -> None:
    put_output(s3, body)
    with pytest.raises(AwsError, match=words):
        training.evaluation(JOB)
