"""Training under SageMaker's folders and on a laptop: by the container's very command once, else by what it calls."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import artefact, evaluate
from ml.__main__ import VERBS, main
from ml.hyperparameters import HyperparameterError, parse_hyperparameters
from ml.train import new_version


@pytest.fixture
def base(tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folders as a training job finds them."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text('{"candidates": "12", "_tuning_objective_metric": "novel:recall@20"}')
    (config / "inputdataconfig.json").write_text('{"export": {"TrainingInputMode": "File"}}')
    shutil.copytree(export, tmp_path / "input" / "data" / "export")
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cuts no table off."""
    monkeypatch.setenv("COLUMNS", "160")


def test_a_training_job_leaves_a_model_metrics_and_its_evaluation(base: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "ml", "train"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    model = artefact.load(base / "model")
    manifest = artefact.read_manifest(base / "model")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{4}", model.version)
    assert len(model.product_ids) == 40
    report = json.loads((base / "output" / "data" / "evaluation.json").read_text())
    evaluate.gate(report)
    assert manifest["metrics"] == evaluate.metrics(report)
    for name, pattern in evaluate.metric_definitions():
        printed = re.findall(pattern, done.stdout)
        assert printed, name
        # A tuning job hears of the objective on the way; the last one counts, as SageMaker takes it.
        assert float(printed[-1]) == pytest.approx(manifest["metrics"][name], abs=1e-4)
    assert not (base / "output" / "failure").exists()


def test_a_trial_is_judged_without_the_newest_weeks_and_leaves_no_model(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "input" / "config" / "hyperparameters.json").write_text('{"candidates": "12", "skip_days": "28"}')

    assert main(["train"]) == 0
    assert f"{evaluate.OBJECTIVE}=" in capsys.readouterr().out
    assert (base / "output" / "data" / "evaluation.json").is_file()
    assert not list(base.glob("model/*"))


def test_a_job_that_cannot_learn_fails_and_says_why(base: Path) -> None:
    (base / "input" / "data" / "export" / "_SUCCESS").unlink()

    done = subprocess.run([sys.executable, "-m", "ml", "train"], capture_output=True, text=True)

    assert done.returncode == 2
    failure = (base / "output" / "failure").read_text()
    assert "has no _SUCCESS" in failure
    assert len(failure) <= 1024
    assert "Traceback" not in done.stderr
    assert not (base / "model").exists()


def test_a_job_without_the_export_channel_names_it(base: Path) -> None:
    (base / "input" / "config" / "inputdataconfig.json").write_text('{"training": {}}')

    assert main(["train"]) == 2
    assert "it needs one named 'export'" in (base / "output" / "failure").read_text()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"candidates": "0"}, "candidates is '0', it must be from 1 to 1000"),
        ({"x" * 900: "1"}, "is unknown; known are basket_penalty, candidates"),
    ],
)
def test_a_hyperparameter_that_a_job_cannot_use_is_in_its_failure_file(
    base: Path, given: dict[str, str], says: str
) -> None:
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given))

    assert main(["train"]) == 2
    failure = (base / "output" / "failure").read_text()
    assert says in failure
    assert len(failure) <= 1024


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("inputdataconfig", {"export": {"TrainingInputMode": "Pipe"}}, "it must be File or FastFile"),
        ("resourceconfig", {"hosts": ["algo-1"], "current_host": "algo-2"}, "current_host 'algo-2' is not one of"),
        ("hyperparameters", ["candidates"], "must hold a JSON object"),
    ],
)
def test_a_job_that_was_set_up_wrongly_says_what_is_wrong(base: Path, file: str, content: object, says: str) -> None:
    (base / "input" / "config" / f"{file}.json").write_text(json.dumps(content))

    assert main(["train"]) == 2
    assert says in (base / "output" / "failure").read_text()


def test_the_laptop_command_writes_the_same_and_the_archive(export: Path, tmp_path: Path) -> None:
    assert main(["train", "--export", str(export), "--output", str(tmp_path), "--set", "candidates=12"]) == 0

    artefact.unpack(tmp_path / "model.tar.gz", tmp_path / "unpacked")
    assert artefact.load(tmp_path / "unpacked").version == artefact.load(tmp_path / "model").version
    assert (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"candidate": "5"}, "'candidate' is unknown; known are"),
        ({"candidates": "many"}, "candidates is 'many', it must be a whole number"),
        ({"candidates": "1.5"}, "candidates is '1.5'"),
        ({"holdout_days": "0"}, "holdout_days is '0', it must be from 1 to 365"),
        ({"damping": "7"}, "damping is '7', it must be from 0.0 to 2.0"),
        ({"basket_penalty": "nan"}, "basket_penalty is 'nan'"),
    ],
)
def test_a_hyperparameter_that_does_not_fit_is_named(given: dict[str, str], says: str) -> None:
    with pytest.raises(HyperparameterError, match=says):
        parse_hyperparameters(given)


def test_versions_sort_by_time_and_do_not_repeat() -> None:
    versions = [new_version() for _ in range(3)]

    assert len(set(versions)) == 3
    assert versions[0][:20] <= versions[2][:20]


@pytest.mark.usefixtures("wide")
def test_every_verb_has_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    said = capsys.readouterr().out
    for verb in VERBS:
        assert re.search(rf"^ +{verb} +\w+", said, re.MULTILINE), verb


@pytest.mark.usefixtures("wide")
def test_evaluate_prints_the_table_and_writes_the_report(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(export), "--json", str(tmp_path / "report.json")]) == 0

    assert "co-occurrence" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "report.json").read_text())) == set(evaluate.PROTOCOLS)


@pytest.mark.usefixtures("wide")
def test_recommend_prints_names_and_reasons(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "p00", "p03", "--model", str(model_folder), "--limit", "3"]) == 0

    said = capsys.readouterr().out
    assert "Goes well with it" in said
    assert "Breakfast kind 0 no. 0" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["recommend", "nonsense"], "recommend: the model does not know product 'nonsense'"),
        (["recommend", "p00", "--limit", "0"], "a limit from 1 to 200"),
    ],
)
def test_a_wrong_question_is_one_line(
    model_folder: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--model", str(model_folder)]) == 2

    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_an_export_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "nowhere")]) == 2

    error = capsys.readouterr().err
    assert error.startswith("evaluate: ")
    assert error.count("\n") == 1
