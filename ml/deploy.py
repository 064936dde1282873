"""Move the endpoint to a registered model: a canary first, then everybody, and back by itself if an alarm goes off.

    python -m ml deploy                              the newest approved model
    python -m ml deploy arn:aws:sagemaker:…/aisle/7  that one
    python -m ml deploy --shadow arn:…/aisle/8       ask that one too, drop its answers, keep its metrics

Where: region and credentials are boto3's (AWS_DEFAULT_REGION, AWS_PROFILE); the rest are the flags below, each with an
environment variable for machines. Deploying goes on in AWS if this command is interrupted, but without its questions
(``ml.canary``) nobody notices answers that are nonsense.
"""

import argparse

from ml import place as places
from ml.aws import alarms, configurations, endpoints, registry, scaling
from ml.aws.client import Tell
from ml.canary import Canary
from ml.place import Place, PlaceError, Stopwatch


def deploy(place: Place, arn: str, tell: Tell) -> None:
    """Move the endpoint to a registered model and wait until that is what it serves. Raises AwsError."""
    tell(f"{arn} to endpoint {place.endpoint}")
    serving = endpoints.standing(place.endpoint)
    canary = Canary(place.endpoint) if serving else None
    config_name = configurations.configure(arn, place.hosting, replaces=serving)
    names = alarms.create(place.endpoint, config_name, place.latency_ms)
    if canary is None:
        endpoints.create(place.endpoint, config_name)
        endpoints.wait(place.endpoint, config_name, tell)
    else:
        with scaling.paused(place.endpoint) as scales, canary.asking(config_name):
            endpoints.update(place.endpoint, config_name, place.rollout, names, keep_count=scales)
            waits = place.rollout.bake_seconds + place.rollout.keep_seconds
            endpoints.wait(place.endpoint, config_name, tell, endpoints.ENDPOINT_SECONDS + waits)
    alarms.keep_only(place.endpoint, config_name)
    scale(place, tell)


def shadow(place: Place, arn: str, tell: Tell) -> None:
    """Ask a registered model whatever the serving one is asked, and drop its answers. Raises AwsError."""
    serving = endpoints.standing(place.endpoint)
    if not serving:
        raise PlaceError(f"{place.endpoint} serves nothing that {arn} could shadow; deploy a model first")
    tell(f"{arn} as a shadow of endpoint {place.endpoint}")
    config_name = configurations.configure_shadow(arn, place.hosting, replaces=serving)
    with scaling.paused(place.endpoint):
        endpoints.update(place.endpoint, config_name, None, [])
        endpoints.wait(place.endpoint, config_name, tell)
    alarms.create(place.endpoint, config_name, place.latency_ms)
    alarms.keep_only(place.endpoint, config_name)


def scale(place: Place, tell: Tell) -> None:
    """Autoscaling as the place wants it, on the variant that serves now."""
    if place.scaling is None:
        scaling.deregister(place.endpoint)
        return
    scaling.register(place.endpoint, place.scaling)
    wish = place.scaling
    tell(f"scales from {wish.least} to {wish.most} instances at {wish.calls_per_minute:g} calls a minute each")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", nargs="?", metavar="MODEL_PACKAGE_ARN", help="default: the newest approved")
    parser.add_argument("--shadow", action="store_true", help="beside the model that serves, its answers dropped")
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    place = Place.of(arguments)
    arn = registry.require_approved(arguments.package) if arguments.package else registry.newest_approved(place.group)
    (shadow if arguments.shadow else deploy)(place, arn, Stopwatch().step("deploy"))
    return 0
