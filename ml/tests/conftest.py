"""One small export and one model trained on it, and clients of AWS that answer what a test says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from ml import artefact
from ml.aws import client
from ml.model import Model
from ml.tests import samples


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_export(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def model(export: Path) -> Model:
    return samples.small_model(export)


@pytest.fixture(scope="session")
def model_folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact where a container would look for it: a folder named ``model``."""
    folder = tmp_path_factory.mktemp("base") / "model"
    artefact.save(model, folder, ("2026-07-23", "2026-11-20"), {})
    return folder


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    monkeypatch.setattr(client, "SHORTEST_POLL", 0.0)
    with stubbed(client.sagemaker) as stub:
        yield stub


@pytest.fixture
def s3() -> Iterator[Stubber]:
    with stubbed(client.s3) as stub:
        yield stub


@pytest.fixture
def cloudwatch() -> Iterator[Stubber]:
    with stubbed(client.cloudwatch) as stub:
        yield stub


@pytest.fixture
def logs() -> Iterator[Stubber]:
    with stubbed(client.logs) as stub:
        yield stub


@pytest.fixture
def autoscaling() -> Iterator[Stubber]:
    with stubbed(client.autoscaling) as stub:
        yield stub


@contextmanager
def stubbed(make: Callable[[], Any]) -> Iterator[Stubber]:
    """A real client whose requests botocore's own model checks, and whose answers the test gives."""
    make.cache_clear()  # type: ignore[attr-defined]
    with Stubber(make()) as stub:
        yield stub
        stub.assert_no_pending_responses()
    make.cache_clear()  # type: ignore[attr-defined]
