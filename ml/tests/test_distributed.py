"""Spark learns what one machine learns: really run, by Spark's local mode."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ml import artefact
from ml.model import Model
from ml.tests import samples

pytestmark = [
    pytest.mark.skipif(find_spec("pyspark") is None, reason="PySpark is not installed (requirements/spark.txt)"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java 17, and there is no java on PATH"),
    pytest.mark.timeout(400),  # most of it is Spark planning, on a busy machine
]


@pytest.fixture(scope="module")
def learnt(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verb leaves behind."""
    output = tmp_path_factory.mktemp("spark")
    command = [sys.executable, "-m", "ml", "distributed", str(export), str(output), "--master", "local[2]"]
    done = subprocess.run(
        [*command, "--candidates", str(samples.SETTINGS.candidates)], capture_output=True, text=True, timeout=380
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def weights(model: Model, row_set: str) -> dict[tuple[str, str], float]:
    """By product ids, so that products which are equally popular may be numbered either way."""
    ids, products = model.product_ids, len(model.product_ids)
    first = model.row_sets.index(row_set) * products
    found: dict[tuple[str, str], float] = {}
    for product, product_id in enumerate(ids):
        span = slice(*model.rows.start[first + product : first + product + 2].tolist())
        targets, values = model.rows.product[span].tolist(), model.rows.value[span].tolist()
        found |= {(product_id, ids[target]): value for target, value in zip(targets, values, strict=True)}
    return found


@pytest.mark.parametrize("row_set", ["households", "baskets", "pairs", "similar", "itself", "rebought"])
def test_every_weight_is_the_single_machines(learnt: Path, model: Model, row_set: str) -> None:
    expected, found = weights(model, row_set), weights(artefact.load(learnt / "model"), row_set)

    assert found.keys() == expected.keys()
    assert [found[pair] for pair in expected] == pytest.approx(list(expected.values()), rel=1e-5)


def test_products_are_as_popular(learnt: Path, model: Model) -> None:
    found = artefact.load(learnt / "model")

    assert set(found.product_ids) == set(model.product_ids)
    assert np.allclose(found.popularity, model.popularity, atol=2e-6)


def test_the_archive_is_the_artefact(learnt: Path, tmp_path: Path) -> None:
    artefact.unpack(learnt / "model.tar.gz", tmp_path)

    assert artefact.load(tmp_path).version == artefact.load(learnt / "model").version
    assert artefact.read_manifest(tmp_path)["window"][0].startswith("2026-07-23T")
