"""Train a model: SageMaker's training entry point, and the same command on a laptop.

    python -m ml train                               in the container: everything under /opt/ml
    python -m ml train --export DIR --output DIR     on a laptop

Learns without the last weeks, scores itself on them, then learns from everything. In the container the job's layout is
SageMaker's: input/config/hyperparameters.json (all values are strings), input/data/export/, model/, output/data/ and
output/failure. SAGEMAKER_BASE_DIR stands in for /opt/ml, so jobs can share a machine.
"""

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from ml import artefact, container, data, evaluate
from ml.blocks import Forgetful, Keeper, Stages
from ml.checkpoints import Checkpoints, digest, fingerprint
from ml.errors import MlError
from ml.hosts import ONE_HOST, Hosts, joined
from ml.hyperparameters import add_hyperparameters, parse_hyperparameters
from ml.learn import Learner, learn

CHANNEL = "export"
FAILURE_LENGTH = 1024  # characters of output/failure that SageMaker shows as FailureReason
STOPPED = 128 + signal.SIGTERM  # not 0: nobody may take what is there for a model


class TrainError(MlError):
    """A training job that was set up wrongly."""


def train(
    export_directory: Path,
    destination: Path,
    given: dict[str, str],
    checkpoints: Path | None = None,
    hosts: Hosts = ONE_HOST,
) -> evaluate.Report | None:
    """Evaluate and fit, print the metrics as SageMaker's MetricDefinitions find them, and write the artefact.

    What is whole goes to ``checkpoints``. Of several hosts the first alone reports and writes; the others help it fit.
    A tuning job's trial (skip_days) is judged and leaves no model: it would not know the newest weeks.
    """
    settings, run_settings = parse_hyperparameters(given)
    days, seed, trial = run_settings["holdout_days"], run_settings["seed"], run_settings["skip_days"] > 0
    export = data.read(export_directory)
    if trial:
        export, _ = data.split(export, run_settings["skip_days"])
    print(f"{len(export.interactions):,} events, {len(export.catalogue):,} products, {export.unknown:,} events skipped "
          "because their product is unknown", flush=True)  # fmt: skip
    made_of = fingerprint(export_directory, {**asdict(settings), **run_settings})
    keeper = Checkpoints(checkpoints, made_of) if checkpoints else Forgetful()
    with joined(hosts, digest(made_of)) as team:
        scoring, final = (Stages(fit, keeper, team).fill for fit in ("evaluation", "model"))
        if not hosts.leads:
            before, _ = data.split(export, days)
            Learner(before, scoring).fit(settings)
            if not trial:
                Learner(export, final).fit(settings)
            return None
        report = _evaluated(keeper, lambda: evaluate.evaluate(export, settings, days, seed, fill=scoring))
        if trial:
            return report
        model = learn(export, settings, new_version(), final)
    ends = export.interactions.day[[0, -1]].tolist()
    first, last = ((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).isoformat() for day in ends)
    artefact.save(model, destination, (first, last), evaluate.metrics(report))
    print(f"model {model.version}: {len(model.rows.product):,} weights", flush=True)
    return report


def _evaluated(keeper: Keeper, make: Callable[[], evaluate.Report]) -> evaluate.Report:
    """The report, made or out of the checkpoints, and printed."""
    kept = keeper.read("report")
    report: evaluate.Report = json.loads(kept) if kept else make()
    keeper.write("report", json.dumps(report).encode())
    for name, value in evaluate.metrics(report).items():
        print(f"{name}={value:.6f}", flush=True)
    Console(width=100).print(evaluate.table(report))
    return report


def new_version() -> str:
    """When and which: 2026-11-22T06-00-00Z-3f9c sorts by time and never repeats."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(2)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", type=Path, metavar="DIR", help="the export (default: SageMaker's channel 'export')")
    parser.add_argument("--output", type=Path, metavar="DIR", help="gets model/, model.tar.gz and evaluation.json")
    add_hyperparameters(parser)


def run(arguments: argparse.Namespace) -> int:
    if (arguments.export is None) != (arguments.output is None):
        raise TrainError("--export and --output go together; without both, the job's folders are SageMaker's")
    return _on_a_laptop(arguments) if arguments.export else _in_a_container()


def _on_a_laptop(arguments: argparse.Namespace) -> int:
    given = dict(arguments.set)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    report = train(arguments.export, output / "model", given)
    if not parse_hyperparameters(given)[1]["skip_days"]:
        artefact.pack(output / "model", output / "model.tar.gz")
    (output / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _in_a_container() -> int:
    signal.signal(signal.SIGTERM, _stopped)
    output = container.base_directory() / "output"
    (output / "data").mkdir(parents=True, exist_ok=True)
    try:
        hosts = Hosts.of(container.config("resourceconfig"))
        given = container.config("hyperparameters")
        given = {name: text for name, text in given.items() if not name.startswith("_")}  # a tuning job adds its own
        report = train(
            container.channel(CHANNEL, len(hosts.names)),
            container.model_directory(),
            given,
            container.checkpoint_directory(),
            hosts,
        )
        if report:
            (output / "data" / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    except Exception as error:  # whatever it is, the job's page must say it
        reason = str(error) if isinstance(error, MlError) else f"{type(error).__name__}: {error}"
        (output / "failure").write_text(reason[:FAILURE_LENGTH], encoding="utf-8")
        if isinstance(error, MlError):
            print(f"train: {reason}", file=sys.stderr)
            return 2
        raise
    return 0


def _stopped(*_: object) -> None:
    """SageMaker stops the job, or takes a Spot instance back: what is whole is in the checkpoints already."""
    print("stopped: told to end; the next run goes on from its checkpoints, if it has any", flush=True)
    raise SystemExit(STOPPED)
