"""The whole loop in the cloud: train, evaluate, gate, register, deploy.

    python -m ml pipeline --export s3://aisle/export

A model that does not beat popularity on the held-out weeks is not registered, and what serves stays.
"""

import argparse
from collections.abc import Callable, Mapping

from ml import evaluate
from ml import place as places
from ml.aws import objects, registry, training
from ml.aws.client import Tell
from ml.aws.training import Fleet, TrainedJob
from ml.deploy import deploy
from ml.place import Place, Stopwatch
from ml.submit import add_job_arguments, fleet_of, train


def pipeline(place: Place, export_url: str, fleet: Fleet, given: Mapping[str, str]) -> str:
    """Run every step. Returns the deployed package's ARN. Raises AwsError, or GateError with nothing changed."""
    step = Stopwatch().step
    return bring_out(place, train(place, export_url, fleet, given, step("train")), step)


def bring_out(place: Place, job: TrainedJob, step: Callable[[str], Tell]) -> str:
    """Every step after training."""
    report = training.evaluation(job)
    show(report, step("evaluate"))
    evaluate.gate(report)
    step("gate")("passed: better than popularity at everything that shoppers will see")
    package = register(place, job, report, step("register"))
    deploy(place, package, step("deploy"))
    step("done")(f"{place.endpoint} serves {package}")
    return package


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
    add_job_arguments(parser)
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    pipeline(Place.of(arguments), arguments.export, fleet_of(arguments), dict(arguments.set))
    return 0
