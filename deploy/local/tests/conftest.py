"""A local cloud on free ports, and boto3 pointed at it through the environment, as production code is."""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.s3.models import s3_backends

from deploy.local import jobs, lookout, runtime, server, tuning
from deploy.local.cloud import Cloud

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tiny:1"
ROLE = "arn:aws:iam::123456789012:role/aisle"
TINY = {"tiny": (sys.executable, "-IS", str(Path(__file__).with_name("container.py")))}
# How long the local cloud lets things lie. What is proved does not depend on it, the tests' time does.
HURRIED: Sequence[tuple[ModuleType, str, float]] = (
    (runtime, "FLUSH_SECONDS", 0.1),
    (lookout, "LOOK_SECONDS", 0.1),
    (tuning, "LOOK_SECONDS", 0.02),
    (jobs, "SYNC_SECONDS", 0.1),
    (jobs, "LAST_WORDS_SECONDS", 0.3),
    (server, "PING_EVERY_SECONDS", 0.3),
)
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://aisle/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The same for every test, so that one set of clients does: making boto3's takes longer than a test.
PORTS = free_port(), free_port()


def eventually(true: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true value of a condition that takes a while."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return value


class LocalCloud:
    """One that a test may stop and start again on the same ports and state."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port, self.runtime_port = PORTS
        self.runtime_url = f"http://127.0.0.1:{self.runtime_port}"
        self._cloud: Cloud | None = None

    def start(self) -> None:
        cloud = Cloud(self.port, self.runtime_port, self.state, TINY)
        cloud.start()
        self._cloud = cloud

    def stop(self) -> None:
        if self._cloud is not None:
            self._cloud.close()
            self._cloud = None
        self.forget()

    def restart(self) -> None:
        self.stop()
        self.start()

    @staticmethod
    def forget() -> None:
        """Empty moto's memory, as the end of the process does."""
        BackendDict.reset()
        s3_backends.bucket_accounts.clear()


class Aws:
    """boto3 as anyone would use it, and the requests that these tests repeat."""

    def __init__(self) -> None:
        self._session: Any = boto3.session.Session()
        self._clients: dict[str, Any] = {}
        self.s3 = self.client("s3")
        self.sagemaker = self.client("sagemaker")
        self.runtime = self.client("sagemaker-runtime")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            once = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=20)
            self._clients[service] = self._session.client(service, config=once)
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def make_bucket(self) -> None:
        self.s3.create_bucket(Bucket="aisle", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def start_job(self, name: str, hyperparameters: Mapping[str, str], **changes: Any) -> None:
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "HyperParameters": hyperparameters,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": "recall", "Regex": r"recall=([0-9.]+)"},
                    {"Name": "coverage", "Regex": r"coverage=([0-9.]+)"},
                ],
            },
            "InputDataConfig": [
                {
                    "ChannelName": "export",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://aisle/export/"}},
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://aisle/models"},
            "ResourceConfig": {"InstanceType": "ml.m7i.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        self.sagemaker.create_training_job(**{**request, **changes})

    def job(self, name: str) -> dict[str, Any]:
        """The job once it has ended."""

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"} else None

        found: dict[str, Any] = eventually(ended)
        return found

    def train(self, name: str = "job", **hyperparameters: str) -> dict[str, Any]:
        """Run a job on a small export to its end."""
        if "aisle" not in {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}:
            self.make_bucket()
        self.s3.put_object(Bucket="aisle", Key="export/events/part-0.csv", Body=b"one\ntwo\nthree\n")
        self.start_job(name, hyperparameters)
        return self.job(name)

    def model(self, name: str, behaviour: str = "well") -> None:
        """A model that serves in a certain way."""
        trained = self.train(f"job-{name}", behaviour=behaviour)
        url = trained["ModelArtifacts"]["S3ModelArtifacts"]
        container = {"Image": IMAGE, "ModelDataUrl": url}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def config(self, name: str, weights: Mapping[str, float] | None = None, **changes: Any) -> None:
        """An endpoint configuration; without ``weights`` it has the model of its own name as variant ``main``."""
        variants = [
            {
                "VariantName": "main" if weights is None else model,
                "ModelName": model,
                "InstanceType": "ml.c7i.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weight,
            }
            for model, weight in (weights or {name: 1.0}).items()
        ]
        self.sagemaker.create_endpoint_config(
            **{"EndpointConfigName": name, "ProductionVariants": variants, "DataCaptureConfig": CAPTURE, **changes}
        )

    def endpoint(self, name: str = "aisle") -> dict[str, Any]:
        """The endpoint once nothing is under way."""

        def settled() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            return found if found["EndpointStatus"] not in {"Creating", "Updating"} else None

        found: dict[str, Any] = eventually(settled)
        return found

    def serve(self, behaviour: str = "well", name: str = "aisle") -> dict[str, Any]:
        """An endpoint that serves one model. Returns it once nothing is under way."""
        model = f"{name}-{behaviour.replace(' ', '-')}"
        self.model(model, behaviour)
        self.config(model)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=model)
        return self.endpoint(name)

    def invoke(self, body: bytes = b"hello", **parameters: Any) -> dict[str, Any]:
        """The endpoint's answer, decoded."""
        request = {"EndpointName": "aisle", "ContentType": "application/json", "Body": body, **parameters}
        answer: dict[str, Any] = json.loads(self.runtime.invoke_endpoint(**request)["Body"].read())
        return answer


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    for module, name, seconds in HURRIED:
        monkeypatch.setattr(module, name, seconds)
    local = LocalCloud(tmp_path / "state")
    local.start()
    yield local
    local.stop()


@pytest.fixture(scope="session")
def clients() -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{PORTS[0]}")
        environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{PORTS[1]}")
        made = Aws()
        yield made
        made.close()


@pytest.fixture
def aws(cloud: LocalCloud, clients: Aws) -> Aws:
    return clients
