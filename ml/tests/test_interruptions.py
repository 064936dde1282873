"""A training job may be ended at any point, with or without a word, and ends with the weights of one that was not."""

import signal
from pathlib import Path
from typing import Any

import pytest

from ml.checkpoints import Checkpoints
from ml.tests.jobs import lay_out, run, weights

WRITE = ("ml.checkpoints", "_write")


@pytest.fixture(scope="module")
def uninterrupted(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    base = lay_out(tmp_path_factory.mktemp("job") / "ml", export)
    code, said = run(base)
    assert code == 0, said
    return weights(base)


@pytest.fixture
def base(export: Path, tmp_path: Path) -> Path:
    made = lay_out(tmp_path / "ml", export)
    (made / "checkpoints").mkdir()
    return made


def pieces(base: Path) -> int:
    return sum(1 for path in base.glob("checkpoints/*/*.*") if path.suffix not in {".json", ".part"})


@pytest.mark.timeout(300)
def test_job_killed_at_several_points_amid_writes_gets_the_same_weights(base: Path, uninterrupted: Any) -> None:
    kept = 0
    for call in (2, 41, 90, 70):  # within a stage, across stages, before and after the evaluation's report
        code, said = run(base, *WRITE, call, int(signal.SIGKILL))
        assert code == -signal.SIGKILL, said
        assert pieces(base) >= kept
        kept = pieces(base)
    assert list(base.glob("checkpoints/*/*.part"))
    assert kept > 150

    code, said = run(base)

    assert code == 0, said
    assert f"resumed: {kept} pieces of work" in said
    assert weights(base) == uninterrupted


@pytest.mark.timeout(300)
def test_job_told_to_end_does_so_at_once_and_goes_on_later(base: Path, uninterrupted: Any) -> None:
    ends = [(*WRITE, 30), ("ml.train", "Checkpoints", 1), ("ml.evaluate", "trials", 1), ("ml.artefact", "save", 1)]
    for end in ends:
        code, said = run(base, *end, int(signal.SIGTERM))
        assert code == 143, said
        assert "stopped: told to end" in said
        assert "Traceback" not in said
        assert not (base / "output" / "failure").exists()
        assert not (base / "model" / "manifest.json").exists()

    code, said = run(base)

    assert code == 0, said
    assert weights(base) == uninterrupted
    assert "learning from" not in said  # the evaluation is not done again


@pytest.mark.timeout(300)
def test_checkpoints_of_other_hyperparameters_are_ignored_in_one_line(
    base: Path, uninterrupted: Any, export: Path, tmp_path: Path
) -> None:
    run(base, *WRITE, 60, int(signal.SIGKILL))
    other = lay_out(tmp_path / "other", export, damping="0.4")
    (base / "checkpoints").rename(other / "checkpoints")

    code, said = run(other)

    assert code == 0, said
    assert said.count("checkpoints of other data, hyperparameters or code are ignored") == 1
    assert "resumed" not in said
    assert weights(other) != uninterrupted


def test_damaged_piece_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Checkpoints(tmp_path, {"settings": {}})
    kept.write("model-00-00", b"whole")
    kept.write("model-00-01", b"damaged")
    (path,) = tmp_path.glob("*/model-00-01.*")
    path.write_bytes(b"damage")

    again = Checkpoints(tmp_path, {"settings": {}})

    assert (again.read("model-00-00"), again.read("model-00-01")) == (b"whole", None)
    assert "checkpoint model-00-01 is damaged" in capsys.readouterr().out
