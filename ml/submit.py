"""Train in the cloud and watch it: a training job on an export in S3, its log, its figures.

    python -m ml submit --export s3://aisle/export
    python -m ml submit --spot --hosts 4 --set candidates=200

The model is left in S3, unregistered; `python -m ml pipeline` takes the same flags and goes on to the endpoint.
"""

import argparse
import os
from collections.abc import Mapping

from rich.console import Console

from ml import evaluate
from ml import place as places
from ml.aws import objects, training
from ml.aws.client import Tell
from ml.aws.training import Fleet, TrainedJob
from ml.contract import EXPORT_MARKER
from ml.hyperparameters import add_hyperparameters, parse_hyperparameters
from ml.place import Place, Stopwatch


def train(place: Place, export_url: str, fleet: Fleet, given: Mapping[str, str], tell: Tell) -> TrainedJob:
    """Run a training job on an export to its end. Raises AwsError, or HyperparameterError before anything is paid."""
    parse_hyperparameters(given)
    objects.require_export(export_url, EXPORT_MARKER)
    name = training.train(
        image=place.image,
        role=place.hosting.role,
        export_url=export_url,
        output_url=f"s3://{place.bucket}/models",
        fleet=fleet,
        hyperparameters=given,
        metrics=evaluate.metric_definitions(),
    )
    tell(f"job {name} on {export_url}")
    return training.wait_for_training(name, tell)


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a training job, shared by every verb that starts one."""
    export, normal = os.environ.get("EXPORT_URL", "s3://aisle/export"), Fleet()
    flag = parser.add_argument
    flag("--export", default=export, metavar="S3_URL", help="EXPORT_URL (%(default)s)")
    flag("--train-instance", default=normal.instance_type, metavar="TYPE", help="%(default)s")
    flag("--hosts", type=places.whole(1), default=normal.hosts, metavar="N", help="that share one fit (%(default)s)")
    flag("--spot", action="store_true", help="cheaper instances, which may be taken back: goes on from checkpoints")
    flag(
        "--max-seconds",
        type=places.whole(1),
        default=normal.max_seconds,
        metavar="N",
        help="a longer job is stopped (%(default)s)",
    )
    add_hyperparameters(parser)


def fleet_of(arguments: argparse.Namespace) -> Fleet:
    return Fleet(arguments.train_instance, arguments.hosts, arguments.spot, arguments.max_seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_job_arguments(parser)
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    place, step = Place.of(arguments), Stopwatch().step
    job = train(place, arguments.export, fleet_of(arguments), dict(arguments.set), step("train"))
    Console().print(evaluate.table(training.evaluation(job)))
    step("done")(job.model_data_url)
    return 0
