"""The whole loop against the local cloud, over unmodified boto3: an export in S3 becomes an endpoint that answers."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from ml import artefact, evaluate, pipeline, submit, tune
from ml.__main__ import main
from ml.aws import client, endpoints, objects, registry, scaling, training
from ml.aws.client import Tell
from ml.aws.training import Fleet, TrainedJob
from ml.contract import parse_response
from ml.place import Place
from ml.tests import samples

WORDS = [
    "--role",
    "arn:aws:iam::123456789012:role/aisle",
    "--image",
    "123456789012.dkr.ecr/aisle-model:1",
    "--instances",
    "1",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """It runs as a program of its own, for the cloud side may not import deploy."""
    ports, state = (free_port(), free_port()), tmp_path_factory.mktemp("cloud")
    words = ["cloud", "--port", str(ports[0]), "--runtime-port", str(ports[1]), "--state", str(state)]
    program = subprocess.Popen([sys.executable, "-m", "deploy.local", *words], stderr=subprocess.DEVNULL)
    caches = (
        client.session,
        client.sagemaker,
        client.s3,
        client.cloudwatch,
        client.autoscaling,
        client.runtime,
        client.logs,
    )
    try:
        _wait(f"http://127.0.0.1:{ports[0]}/")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports[0]}")
            environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{ports[1]}")
            for cached in caches:
                cached.cache_clear()
            yield
    finally:
        program.terminate()
        program.wait(timeout=30)
        for cached in caches:
            cached.cache_clear()


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


@pytest.fixture(scope="module")
def bucket(local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = samples.write_export(tmp_path_factory.mktemp("export"))
    client.s3().create_bucket(Bucket="aisle", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for path in folder.rglob("*"):
        if path.is_file():
            put(f"export/{path.relative_to(folder)}", path.read_bytes())


def put(key: str, body: bytes) -> None:
    client.s3().put_object(Bucket="aisle", Key=key, Body=body)


@pytest.fixture(scope="module")
def deployed(bucket: None) -> None:
    """One run of the pipeline, from the export to the endpoint."""
    assert main(["pipeline", "--export", "s3://aisle/export", *WORDS]) == 0


def ask(product_id: str) -> dict[str, Any]:
    client = boto3.session.Session().client("sagemaker-runtime")
    query = {
        "slate_id": "s",
        "history": [{"product_id": product_id, "kind": "purchase", "age": 60.0, "count": 1}],
        "slates": [{"name": "for_you", "limit": 5}],
    }
    body = json.dumps({"version": 1, "queries": [query]})
    answer = client.invoke_endpoint(EndpointName="aisle", ContentType="application/json", Body=body)["Body"].read()
    client.close()
    return dict(parse_response(answer))


@pytest.mark.usefixtures("deployed")
def test_export_becomes_an_endpoint_that_recommends() -> None:
    (item, *_) = ask("p01")["answers"][0]["slates"]["for_you"]

    assert item["because"] == "p01"
    found = endpoints.status("aisle")
    assert found is not None
    assert found.packages == (registry.newest_approved("aisle"),)


@pytest.mark.usefixtures("deployed")
def test_registered_model_carries_its_metrics_and_its_report() -> None:
    (package, *_) = registry.packages("aisle")
    described = client.sagemaker().describe_model_package(ModelPackageName=package.arn)
    report_url = described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]

    assert package.status == "Approved"
    report = json.loads(objects.read(report_url))
    job = client.sagemaker().describe_training_job(TrainingJobName=package.learnt_by.rpartition("/")[2])
    assert package.learnt_from == job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert package.metrics == {name: f"{value:.4f}" for name, value in evaluate.metrics(report).items()}


@pytest.mark.usefixtures("deployed")
def test_model_that_does_not_beat_popularity_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = endpoints.status("aisle"), registry.packages("aisle")
    job = training.TrainedJob("weak", "arn:…", "s3://aisle/export/", "s3://aisle/models/weak/output/model.tar.gz", {})
    even = {"recall@20": 0.25, "ndcg@20": 0.25, "shoppers": 9.0}
    monkeypatch.setattr(pipeline, "train", lambda *_: job)
    monkeypatch.setattr(training, "evaluation", lambda _: {"novel": {"popularity": even, "aisle": even}})

    assert main(["pipeline", *WORDS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pipeline: novel: recall@20 is 0.2500 and popularity's is 0.2500")
    assert len(error.splitlines()) == 1
    assert (endpoints.status("aisle"), registry.packages("aisle")) == before


@pytest.mark.usefixtures("bucket")
def test_failed_job_says_its_reason_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    put("broken/_SUCCESS", b"{}")
    put("broken/events/part-0.parquet", b"no parquet")
    put("broken/products/part-0.parquet", b"no parquet")

    assert main(["pipeline", "--export", "s3://aisle/broken", *WORDS]) == 2
    error = capsys.readouterr().err
    assert "ended as Failed: AlgorithmError: " in error
    assert "part-0.parquet" in error
    assert len(error.splitlines()) == 1


@pytest.mark.usefixtures("deployed")
def test_model_that_is_not_registered_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = endpoints.status("aisle")
    assert main(["deploy", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/aisle/99", *WORDS]) == 2
    error = capsys.readouterr().err
    assert error.startswith("deploy: looking for the model arn:")
    assert len(error.splitlines()) == 1
    assert endpoints.status("aisle") == before


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("url", ["s3://aisle/elsewhere", "s3://no-such-bucket/export"])
def test_export_that_is_not_there_costs_no_job(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = jobs()
    assert main(["pipeline", "--export", url, *WORDS]) == 2
    assert f"{url} is no finished export" in capsys.readouterr().err
    assert jobs() == before


def break_off(wish: dict[str, float]) -> None:
    request = urllib.request.Request(
        f"{os.environ['AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME']}/local-cloud/faults", json.dumps(wish).encode()
    )
    urllib.request.urlopen(request).close()


def jobs() -> list[str]:
    """The training jobs' names, oldest first."""
    found = client.sagemaker().list_training_jobs()["TrainingJobSummaries"]
    return [each["TrainingJobName"] for each in sorted(found, key=lambda each: each["CreationTime"])]


def described(name: str) -> Any:
    return client.sagemaker().describe_training_job(TrainingJobName=name)


def take_back_once(before: int) -> None:
    """Take the Spot instances of the next job back without a word, as soon as it has kept something."""
    for _ in range(1_000):
        kept = client.s3().list_objects_v2(Bucket="aisle", Prefix="models/")["Contents"]
        if len(jobs()) > before and any("/evaluation-00-" in each["Key"] for each in kept):
            break
        time.sleep(0.05)
    break_off({"spot_interruption_seconds": 0.1, "spot_warning_seconds": 0})
    while not any(step["Status"] == "Interrupted" for step in described(jobs()[-1])["SecondaryStatusTransitions"]):
        time.sleep(0.02)
    break_off({})


def weights(job: str, folder: Path) -> Any:
    folder.mkdir()
    archive = folder / "model.tar.gz"
    archive.write_bytes(objects.read(training.trained(job).model_data_url))
    artefact.unpack(archive, folder / "model")
    return artefact.read_manifest(folder / "model")["files"]


@pytest.mark.usefixtures("deployed")
@pytest.mark.timeout(300)
def test_spot_job_of_two_hosts_that_is_taken_back_leaves_the_weights_of_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = jobs()
    reclaimer = threading.Thread(target=take_back_once, args=(len(before),))
    reclaimer.start()
    code = main(["submit", "--export", "s3://aisle/export", "--spot", "--hosts", "2", *WORDS])
    reclaimer.join()
    said = capsys.readouterr().out

    assert code == 0
    assert "Interrupted: " in said
    assert "resumed: " in said  # by the job's own log
    assert "Spot saved" in said
    assert "Held-out weeks" in said
    assert weights(jobs()[-1], tmp_path / "spot") == weights(before[0], tmp_path / "ordinary")


@pytest.mark.usefixtures("bucket")
def test_hyperparameter_that_does_not_exist_costs_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    before = jobs()
    assert main(["submit", "--set", "candidate=3", *WORDS]) == 2
    assert "'candidate' is unknown" in capsys.readouterr().err
    assert jobs() == before


def judged(trial: float, newest: float) -> Callable[..., TrainedJob]:
    """Training, but the defaults' objectives are the test's choice: on the weeks of trials, and on the newest."""

    def trained(place: Place, export_url: str, fleet: Fleet, given: Mapping[str, str], tell: Tell) -> TrainedJob:
        tuned = len(given) > 2
        if tuned:
            return submit.train(place, export_url, fleet, given, tell)
        objective = trial if "skip_days" in given else newest
        return TrainedJob("defaults", "arn:…", "s3://…", "s3://…", {evaluate.OBJECTIVE: objective})

    return trained


@pytest.mark.usefixtures("deployed")
@pytest.mark.timeout(300)
def test_best_trial_s_settings_are_trained_on_everything_and_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "train", judged(trial=0.001, newest=0.001))
    quickly = ["--bake", "1", "--keep", "1"]
    assert main(["tune", "--trials", "2", "--set", "candidates=12", "--deploy", *quickly, *WORDS]) == 0
    said = capsys.readouterr().out

    assert said.count("best so far") >= 1
    assert "over defaults" in said
    trial, last = described(jobs()[-2]), described(jobs()[-1])
    assert trial["HyperParameters"]["skip_days"] == "28"
    assert "skip_days" not in last["HyperParameters"]
    searches = client.sagemaker().list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    best = client.sagemaker().describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=searches[-1]["HyperParameterTuningJobName"]
    )["BestTrainingJob"]
    assert last["HyperParameters"] == {"candidates": "12", **best["TunedHyperParameters"]}
    assert registry.packages("aisle")[0].learnt_by == last["TrainingJobArn"]


@pytest.mark.usefixtures("deployed")
@pytest.mark.timeout(300)
def test_search_that_does_not_beat_the_defaults_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = endpoints.status("aisle"), registry.packages("aisle")
    monkeypatch.setattr(tune, "train", judged(trial=1.0, newest=0.001))

    assert main(["tune", "--trials", "1", "--set", "candidates=12", "--deploy", *WORDS]) == 1
    said = capsys.readouterr().out
    assert "no trial beats the defaults" in said
    assert "IdenticalDataAndAlgorithm" in said  # it began from the search before
    assert (endpoints.status("aisle"), registry.packages("aisle")) == before


@pytest.mark.usefixtures("deployed")
@pytest.mark.timeout(300)
def test_settings_that_lose_on_weeks_which_the_search_never_saw_change_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = endpoints.status("aisle"), registry.packages("aisle")
    monkeypatch.setattr(tune, "train", judged(trial=0.001, newest=1.0))

    assert main(["tune", "--trials", "1", "--set", "candidates=12", "--deploy", *WORDS]) == 1
    assert "the defaults are better on the newest weeks" in capsys.readouterr().out
    assert (endpoints.status("aisle"), registry.packages("aisle")) == before


@pytest.mark.usefixtures("deployed")
def test_deleted_endpoint_leaves_the_registry_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Last in this file: it ends what the others share."""
    registered = registry.packages("aisle")
    assert scaling.of("aisle") is not None
    assert main(["delete", "--yes"]) == 0

    assert "the endpoint aisle is gone" in capsys.readouterr().out
    assert endpoints.status("aisle") is None
    assert scaling.of("aisle") is None
    assert client.cloudwatch().describe_alarms()["MetricAlarms"] == []
    assert client.sagemaker().list_endpoint_configs()["EndpointConfigs"] == []
    assert client.sagemaker().list_models()["Models"] == []
    assert registry.packages("aisle") == registered
    assert main(["delete", "--yes"]) == 2
    assert "there is no endpoint aisle, and nothing that was made for one" in capsys.readouterr().err
