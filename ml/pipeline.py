"""The whole loop in the cloud: train, evaluate, gate, register, deploy.

    python -m ml pipeline --export s3://aisle/export

A model that does not beat popularity on the held-out weeks is not registered, and what serves stays.
"""

import argparse
import os

from ml import evaluate
from ml import place as places
from ml.aws import objects, registry, training
from ml.aws.client import Tell
from ml.aws.training import TrainedJob
from ml.contract import EXPORT_MARKER
from ml.deploy import deploy
from ml.place import Place, Stopwatch

DAY_SECONDS = 86_400


def pipeline(place: Place, export_url: str, train_instance: str, max_seconds: int) -> str:
    """Run every step. Returns the deployed package's ARN. Raises AwsError, or GateError with nothing changed."""
    step = Stopwatch().step
    job = train(place, export_url, train_instance, max_seconds, step("train"))
    report = training.evaluation(job)
    show(report, step("evaluate"))
    evaluate.gate(report)
    step("gate")("passed: better than popularity at everything that shoppers will see")
    package = register(place, job, report, step("register"))
    deploy(place, package, step("deploy"))
    step("done")(f"{place.endpoint} serves {package}")
    return package


def train(place: Place, export_url: str, instance: str, max_seconds: int, tell: Tell) -> TrainedJob:
    """Run a training job on an export to its end."""
    objects.require_export(export_url, EXPORT_MARKER)
    name = training.train(
        image=place.image,
        role=place.hosting.role,
        export_url=export_url,
        output_url=f"s3://{place.bucket}/models",
        instance_type=instance,
        hyperparameters={},
        metrics=evaluate.metric_definitions(),
        max_seconds=max_seconds,
    )
    tell(f"job {name} on {export_url}")
    return training.wait_for_training(name, tell)


def show(report: evaluate.Report, tell: Tell) -> None:
    """One line for each protocol: the model against its rivals."""
    for protocol, scores in report.items():
        figures = ", ".join(f"{model} {scores[model][f'recall@{evaluate.K}']:.4f}" for model in scores)
        tell(f"{protocol} recall@{evaluate.K}: {figures}")


def register(place: Place, job: TrainedJob, report: evaluate.Report, tell: Tell) -> str:
    """Put the model and its report into the registry, and approve it: it has passed the gate."""
    report_url = f"{job.output_url}/{training.REPORT}"
    objects.write_json(report_url, report)
    arn = registry.register(
        place.group,
        job,
        image=place.image,
        report_url=report_url,
        metrics=evaluate.metrics(report),
        instance_type=place.hosting.instance_type,
    )
    registry.approve(arn, "better than popularity on held-out weeks")
    tell(f"{arn}, approved")
    return arn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    export = os.environ.get("EXPORT_URL", "s3://aisle/export")
    parser.add_argument("--export", default=export, metavar="S3_URL", help="EXPORT_URL (%(default)s)")
    parser.add_argument("--train-instance", default="ml.m6i.xlarge", metavar="TYPE", help="%(default)s")
    parser.add_argument("--max-seconds", type=int, default=DAY_SECONDS, help="a longer job is stopped (%(default)s)")
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    pipeline(Place.of(arguments), arguments.export, arguments.train_instance, arguments.max_seconds)
    return 0
