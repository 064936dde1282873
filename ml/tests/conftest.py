"""One small export and one model trained on it, shared by the whole suite."""

from pathlib import Path

import pytest

from ml import artefact
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
