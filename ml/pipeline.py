"""The whole loop in the cloud: train, evaluate, gate, register, deploy.

    python -m ml pipeline --export s3://aisle/export

A model that does not beat popularity on the held-out weeks is not registered, and what serves stays.
"""

import argparse
import os

from ml import aws, evaluate
from ml.contract import EXPORT_MARKER
from ml.deploy import Place, Stopwatch, add_place_arguments, deploy

DAY_SECONDS = 86_400


def pipeline(place: Place, export_url: str, train_instance: str, max_seconds: int) -> str:
    """Run every step. Returns the deployed package's ARN. Raises AwsError, or GateError with nothing changed."""
    step = Stopwatch().step
    job = train(place, export_url, train_instance, max_seconds, step("train"))
    report = aws.evaluation(job)
    show(report, step("evaluate"))
    evaluate.gate(report)
    step("gate")("passed: better than popularity at everything that shoppers will see")
    package = register(place, job, report, step("register"))
    deploy(place, package, step("deploy"))
    step("done")(f"{place.endpoint} serves {package}")
    return package


def train(place: Place, export_url: str, instance: str, max_seconds: int, tell: aws.Tell) -> aws.TrainedJob:
    """Run a training job on an export to its end."""
    aws.require_export(export_url, EXPORT_MARKER)
    name = aws.train(
        image=place.image,
        role=place.role,
        export_url=export_url,
        output_url=f"s3://{place.bucket}/models",
        instance_type=instance,
        hyperparameters={},
        metrics=evaluate.metric_definitions(),
        max_seconds=max_seconds,
    )
    tell(f"job {name} on {export_url}")
    return aws.wait_for_training(name, tell)


def show(report: evaluate.Report, tell: aws.Tell) -> None:
    """One line for each protocol: the model against its rivals."""
    for protocol, scores in report.items():
        figures = ", ".join(f"{model} {scores[model][f'recall@{evaluate.K}']:.4f}" for model in scores)
        tell(f"{protocol} recall@{evaluate.K}: {figures}")


def register(place: Place, job: aws.TrainedJob, report: evaluate.Report, tell: aws.Tell) -> str:
    """Put the model and its report into the registry, and approve it: it has passed the gate."""
    report_url = f"{job.output_url}/{aws.REPORT}"
    aws.write_json(report_url, report)
    arn = aws.register(
        place.group,
        image=place.image,
        model_data_url=job.model_data_url,
        report_url=report_url,
        metrics=evaluate.metrics(report),
        instance_type=place.endpoint_instance,
    )
    aws.approve(arn, "better than popularity on held-out weeks")
    tell(f"{arn}, approved")
    return arn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    export = os.environ.get("EXPORT_URL", "s3://aisle/export")
    parser.add_argument("--export", default=export, metavar="S3_URL", help="EXPORT_URL (%(default)s)")
    parser.add_argument("--train-instance", default="ml.m6i.xlarge", metavar="TYPE", help="%(default)s")
    parser.add_argument("--max-seconds", type=int, default=DAY_SECONDS, help="a longer job is stopped (%(default)s)")
    add_place_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    pipeline(Place.of(arguments), arguments.export, arguments.train_instance, arguments.max_seconds)
    return 0
