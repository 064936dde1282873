"""Put a registered model on an endpoint, or say what runs there.

    python -m ml deploy                              the newest approved model
    python -m ml deploy arn:aws:sagemaker:…/aisle/7  that one, which is also how to go back
    python -m ml deploy --status                     what serves, and the newest models of the registry

Where: region and credentials are boto3's (AWS_DEFAULT_REGION, AWS_PROFILE); the rest are the flags below, each with an
environment variable for machines.
"""

import argparse
import os
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ml import aws
from ml.errors import MlError


class PlaceError(MlError):
    """A setting of the place in AWS is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where models live in AWS: one endpoint, one registry group, one bucket, one role, one image."""

    endpoint: str
    group: str
    bucket: str
    role: str
    image: str
    endpoint_instance: str
    instances: int
    capture_percentage: int

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Place":
        """From flags, which add_place_arguments defines. Raises PlaceError naming what is missing."""
        for flag, variable in (("role", "AISLE_ROLE_ARN"), ("image", "AISLE_IMAGE")):
            if not getattr(arguments, flag):
                raise PlaceError(f"no {flag} is given: add --{flag} or set {variable}")
        return cls(
            endpoint=arguments.endpoint,
            group=arguments.group,
            bucket=arguments.bucket,
            role=arguments.role,
            image=arguments.image,
            endpoint_instance=arguments.endpoint_instance,
            instances=arguments.instances,
            capture_percentage=arguments.capture,
        )


class Stopwatch:
    """Prints what happens, each line with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def step(self, name: str) -> aws.Tell:
        """A teller for one named step."""

        def tell(text: str) -> None:
            print(f"{time.monotonic() - self._start:7.1f} s  {name:<9} {text}", flush=True)

        return tell


def deploy(place: Place, arn: str, tell: aws.Tell) -> None:
    """Move the endpoint to a registered model and wait until that is what it serves. Raises AwsError."""
    tell(f"{arn} to endpoint {place.endpoint}")
    config_name = aws.deploy(
        arn,
        endpoint=place.endpoint,
        role=place.role,
        instance_type=place.endpoint_instance,
        instances=place.instances,
        capture_url=f"s3://{place.bucket}/capture",
        capture_percentage=place.capture_percentage,
    )
    aws.wait_for_endpoint(place.endpoint, config_name, tell)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a Place, shared with the pipeline."""
    environment = os.environ.get
    flag = parser.add_argument
    flag("--endpoint", default=environment("RECOMMENDER_ENDPOINT", "aisle"), help="RECOMMENDER_ENDPOINT (%(default)s)")
    flag("--group", default="aisle", help="the registry's model package group (%(default)s)")
    flag(
        "--bucket",
        default=environment("AISLE_BUCKET", "aisle"),
        help="for models and capture: AISLE_BUCKET (%(default)s)",
    )
    flag("--role", default=environment("AISLE_ROLE_ARN"), help="ARN of SageMaker's execution role: AISLE_ROLE_ARN")
    flag("--image", default=environment("AISLE_IMAGE"), help="address of the model image in ECR: AISLE_IMAGE")
    flag("--endpoint-instance", default="ml.c6i.large", metavar="TYPE", help="%(default)s")
    flag("--instances", type=int, default=1, metavar="N", help="of the endpoint (%(default)s)")
    flag("--capture", type=int, default=100, metavar="PERCENT", help="of calls kept in S3 (%(default)s)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", nargs="?", metavar="MODEL_PACKAGE_ARN", help="default: the newest approved")
    parser.add_argument("--status", action="store_true", help="change nothing, show what runs")
    add_place_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.status:
        return show(arguments.endpoint, arguments.group)
    place = Place.of(arguments)
    deploy(place, arguments.package or aws.newest_approved(place.group), Stopwatch().step("deploy"))
    return 0


def show(endpoint: str, group: str) -> int:
    """Print what serves and what is registered. The exit code is 0 if the endpoint is in service."""
    found, registered = aws.status(endpoint), aws.packages(group)
    console = Console()
    console.print(_endpoint_table(endpoint, found))
    console.print(_registry_table(group, registered, found.packages if found else ()))
    return 0 if found and found.status == "InService" else 1


def _endpoint_table(name: str, found: aws.Endpoint | None) -> Table:
    table = Table(title=f"Endpoint {name}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    if found is None:
        table.add_row("status", "there is none of this name; `python -m ml deploy` creates it")
        return table
    table.add_row("status", found.status)
    table.add_row("serves", "\n".join(found.packages) or "a model that is not registered")
    table.add_row("configuration", found.config_name)
    table.add_row("changed", f"{found.changed:%Y-%m-%d %H:%M:%S %Z}")
    for variant, (weight, instances) in found.variants.items():
        table.add_row(f"variant {variant}", f"weight {weight:g}, {instances} instance{'s' * (instances != 1)}")
    if found.failure:
        table.add_row("last failure", found.failure)
    return table


def _registry_table(group: str, registered: list[aws.Package], serving: tuple[str, ...]) -> Table:
    table = Table(title=f"Registry {group}, newest first", title_justify="left")
    for heading in ("version", "status", "registered", "on held-out weeks", "serves"):
        table.add_column(heading, no_wrap=True)
    for package in registered:
        scores = "\n".join(f"{name} {value}" for name, value in package.properties.items())
        here = "yes" if package.arn in serving else ""
        table.add_row(str(package.version), package.status, f"{package.created:%Y-%m-%d %H:%M %Z}", scores, here)
    return table
