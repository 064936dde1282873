"""Where models live in AWS, as flags that each have an environment variable for machines."""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from ml.aws.alarms import LATENCY_MS
from ml.aws.client import Tell
from ml.aws.configurations import Hosting
from ml.aws.endpoints import Rollout
from ml.aws.scaling import Scaling
from ml.errors import MlError

LONGEST_WAIT = 3_600  # WaitIntervalInSeconds and TerminationWaitInSeconds


class PlaceError(MlError):
    """A setting of the place in AWS is missing or cannot be."""


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint, one registry group, one bucket, one role, one image, and how new models come to serve."""

    group: str
    bucket: str
    image: str
    hosting: Hosting
    rollout: Rollout
    scaling: Scaling | None
    latency_ms: float

    @property
    def endpoint(self) -> str:
        return self.hosting.endpoint

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Place":
        """From flags, which add_arguments defines. Raises PlaceError naming what is missing."""
        for flag, variable in (("role", "AISLE_ROLE_ARN"), ("image", "AISLE_IMAGE")):
            if not getattr(arguments, flag):
                raise PlaceError(f"no {flag} is given: add --{flag} or set {variable}")
        least, most = arguments.instances, arguments.most_instances
        if not 1 <= arguments.canary <= 50:
            raise PlaceError(f"--canary is {arguments.canary}, AWS takes 1 to 50 percent")
        return cls(
            group=arguments.group,
            bucket=arguments.bucket,
            image=arguments.image,
            hosting=Hosting(
                endpoint=arguments.endpoint,
                role=arguments.role,
                instance_type=arguments.endpoint_instance,
                instances=least,
                capture_url=f"s3://{arguments.bucket}/capture",
                capture_percentage=arguments.capture,
            ),
            rollout=Rollout(arguments.canary, arguments.bake, arguments.keep),
            scaling=Scaling(least, most, arguments.calls_per_minute) if most > least else None,
            latency_ms=arguments.latency_ms,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a Place, shared by every verb that changes one."""
    add_names(parser)
    given = os.environ.get
    flag = parser.add_argument_group("where in AWS").add_argument
    flag("--bucket", default=given("AISLE_BUCKET", "aisle"), help="for models and capture: AISLE_BUCKET (%(default)s)")
    flag("--role", default=given("AISLE_ROLE_ARN"), help="ARN of SageMaker's execution role: AISLE_ROLE_ARN")
    flag("--image", default=given("AISLE_IMAGE"), help="address of the model image in ECR: AISLE_IMAGE")
    flag = parser.add_argument_group("serving, for verbs that deploy").add_argument
    flag("--endpoint-instance", default="ml.c6i.large", metavar="TYPE", help="%(default)s")
    flag(
        "--instances", type=whole(1), default=given("AISLE_INSTANCES", "2"), metavar="N",
        help="of the endpoint, at least: two survive the loss of a zone, and a canary needs them (%(default)s)",
    )  # fmt: skip
    flag(
        "--most-instances", type=whole(1), default=given("AISLE_MOST_INSTANCES", "4"), metavar="N",
        help="autoscaling's limit; no autoscaling if it is not above --instances (%(default)s)",
    )  # fmt: skip
    flag(
        "--calls-per-minute", type=float, default=3_000.0, metavar="N",
        help="each instance's share, which autoscaling keeps: half of what one can answer (%(default)s)",
    )  # fmt: skip
    flag("--capture", type=whole(0, 100), default=100, metavar="PERCENT", help="of calls kept in S3 (%(default)s)")
    flag("--canary", type=int, default=10, metavar="PERCENT", help="of calls that try a new model first (%(default)s)")
    flag(
        "--bake", type=whole(0, LONGEST_WAIT), default=given("AISLE_BAKE_SECONDS", "600"), metavar="SECONDS",
        help="that they try it before all calls go there: AISLE_BAKE_SECONDS (%(default)s)",
    )  # fmt: skip
    flag(
        "--keep", type=whole(0, LONGEST_WAIT), default=given("AISLE_KEEP_SECONDS", "300"), metavar="SECONDS",
        help="that the old model stays beside the new one: AISLE_KEEP_SECONDS (%(default)s)",
    )  # fmt: skip
    flag(
        "--latency-ms", type=float, default=LATENCY_MS, metavar="MS",
        help="99th percentile within the model that takes a new one back; shops give up after 3 s (%(default)s)",
    )  # fmt: skip


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a flag that takes a whole number between two: a wrong one is refused before anything is paid."""

    def parsed(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            upward = "up" if most is None else f"to {most}"
            raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number from {least} {upward}")
        return int(text)

    return parsed


def add_names(parser: argparse.ArgumentParser) -> None:
    """The flags of a verb that needs no more than names."""
    add_endpoint(parser)
    parser.add_argument("--group", default="aisle", help="the registry's model package group (%(default)s)")


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    name = os.environ.get("RECOMMENDER_ENDPOINT", "aisle")
    parser.add_argument("--endpoint", default=name, metavar="NAME", help="RECOMMENDER_ENDPOINT (%(default)s)")


class Stopwatch:
    """Prints what happens, each line with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def step(self, name: str) -> Tell:
        """A teller for one named step."""

        def tell(text: str) -> None:
            print(f"{time.monotonic() - self._start:7.1f} s  {name:<9} {text}", flush=True)

        return tell
