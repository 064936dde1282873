"""A local cloud on free ports for tests, with boto3 pointed at it through the environment, as production code is."""

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.s3.models import s3_backends

from deploy.local.cloud import Cloud

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tiny:1"
ROLE = "arn:aws:iam::123456789012:role/aisle"
TINY = {"tiny": (sys.executable, str(Path(__file__).with_name("container.py")))}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A cloud that a test may stop and start again on the same ports and state."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port, self.runtime_port = free_port(), free_port()
        self.runtime_url = f"http://127.0.0.1:{self.runtime_port}"
        self._cloud: Cloud | None = None

    def start(self) -> None:
        self._cloud = Cloud(self.port, self.runtime_port, self.state, TINY)
        self._cloud.start()

    def stop(self) -> None:
        if self._cloud is not None:
            self._cloud.close()
            self._cloud = None
        BackendDict.reset()  # what a new process would begin with
        s3_backends.bucket_accounts.clear()


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    running = Running(tmp_path / "state")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.port}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", running.runtime_url)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(cloud: Running) -> Iterator[Callable[[str], Any]]:
    """boto3's client of a service; a failing call is not tried again."""
    made: list[Any] = []

    session: Any = boto3.session.Session()

    def make(service: str, **config: Any) -> Any:
        settings = Config(retries={"mode": "standard", "total_max_attempts": 1}, **config)
        made.append(session.client(service, config=settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
