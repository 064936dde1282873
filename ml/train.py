"""Train a model: SageMaker's training entry point, and the same command on a laptop.

    python -m ml train                               in the container: everything under /opt/ml
    python -m ml train --export DIR --output DIR     on a laptop

Learns without the last weeks, scores itself on them, then learns from everything. In the container the job's layout is
SageMaker's: input/config/hyperparameters.json (all values are strings), input/data/export/, model/, output/data/ and
output/failure. SAGEMAKER_BASE_DIR stands in for /opt/ml, so jobs can share a machine.
"""

import argparse
import json
import math
import secrets
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from ml import artefact, data, evaluate
from ml.container import base_directory, model_directory
from ml.errors import MlError
from ml.learn import Hyperparameters, learn

CHANNEL = "export"
FAILURE_LENGTH = 1024  # characters of output/failure that SageMaker shows as FailureReason
RUN_SETTINGS = {"holdout_days": evaluate.HOLDOUT_DAYS, "seed": evaluate.SEED}


class TrainError(MlError):
    """A training job that was set up wrongly."""


def train(export_directory: Path, destination: Path, given: dict[str, str]) -> evaluate.Report:
    """Evaluate and fit, print the metrics as SageMaker's MetricDefinitions find them, and write the artefact."""
    settings, run_settings = parse_hyperparameters(given)
    export = data.read(export_directory)
    print(f"{len(export.interactions):,} events, {len(export.catalogue):,} products, {export.unknown:,} events skipped "
          "because their product is unknown", flush=True)  # fmt: skip
    report = evaluate.evaluate(export, settings, run_settings["holdout_days"], run_settings["seed"])
    metrics = evaluate.metrics(report)
    for name, value in metrics.items():
        print(f"{name}={value:.4f}", flush=True)
    Console(width=100).print(evaluate.table(report))
    model = learn(export, settings, new_version())
    days = export.interactions.day[[0, -1]].tolist()
    first, last = ((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).isoformat() for day in days)
    artefact.save(model, destination, (first, last), metrics)
    print(f"model {model.version}: {len(model.rows.product):,} weights", flush=True)
    return report


def new_version() -> str:
    """When and which: 2026-11-22T06-00-00Z-3f9c sorts by time and never repeats."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(2)}"


def parse_hyperparameters(given: dict[str, str]) -> tuple[Hyperparameters, dict[str, int]]:
    """SageMaker hands every value over as a string. Raises TrainError naming the one that does not fit."""
    types = {field.name: field.type for field in fields(Hyperparameters)} | dict.fromkeys(RUN_SETTINGS, int)
    values: dict[str, float] = {}
    for name, text in given.items():
        if name not in types:
            raise TrainError(f"hyperparameter {name!r:.60} is unknown; known are {', '.join(sorted(types))}")
        try:
            values[name] = int(text) if types[name] is int else float(text)
            if not math.isfinite(values[name]):
                raise ValueError(text)
        except ValueError:
            raise TrainError(f"hyperparameter {name} is {text!r:.60}, it must be a number") from None
    for name in ("candidates", "holdout_days"):
        if values.get(name, 1) < 1:
            raise TrainError(f"hyperparameter {name} must be at least 1")
    run_settings = {name: int(values.pop(name, default)) for name, default in RUN_SETTINGS.items()}
    return Hyperparameters(**values), run_settings  # type: ignore[arg-type]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", type=Path, metavar="DIR", help="the export (default: SageMaker's channel 'export')")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets model/, model.tar.gz and evaluation.json")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter, such as candidates=50"
    )


def run(arguments: argparse.Namespace) -> int:
    if (arguments.export is None) != (arguments.output is None):
        raise TrainError("--export and --output go together; without both, the job's folders are SageMaker's")
    return _on_a_laptop(arguments) if arguments.export else _in_a_container()


def _on_a_laptop(arguments: argparse.Namespace) -> int:
    pairs = [text.partition("=") for text in arguments.set]
    given = {name: value for name, _, value in pairs}
    output: Path = arguments.output
    report = train(arguments.export, output / "model", given)
    artefact.pack(output / "model", output / "model.tar.gz")
    (output / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _in_a_container() -> int:
    base = base_directory()
    output = base / "output"
    (output / "data").mkdir(parents=True, exist_ok=True)
    try:
        report = train(_channel(base), model_directory(), _hyperparameters(base))
        (output / "data" / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    except Exception as error:  # whatever it is, the job's page must say it
        reason = str(error) if isinstance(error, MlError) else f"{type(error).__name__}: {error}"
        (output / "failure").write_text(reason[:FAILURE_LENGTH])
        if isinstance(error, MlError):
            print(f"train: {reason}", file=sys.stderr)
            return 2
        raise
    return 0


def _channel(base: Path) -> Path:
    configured = _json(base / "input" / "config" / "inputdataconfig.json")
    if configured and CHANNEL not in configured:
        raise TrainError(f"the job has the channels {', '.join(configured)}; it needs one named {CHANNEL!r}")
    return base / "input" / "data" / CHANNEL


def _hyperparameters(base: Path) -> dict[str, str]:
    given = _json(base / "input" / "config" / "hyperparameters.json")
    return {name: text for name, text in given.items() if not name.startswith("_")}  # a tuning job adds its own


def _json(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise TrainError(f"{path} is not readable as JSON ({error})") from None
    if not isinstance(found, dict):
        raise TrainError(f"{path} must hold a JSON object")
    return found
