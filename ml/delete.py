"""Stop paying for an endpoint: delete it and all that deploying made for it.

    python -m ml delete --endpoint aisle             asks for the endpoint's name before it does anything
    python -m ml delete --endpoint aisle --yes       does not ask

Calls fail from that moment on. What goes: the endpoint and its instances, its autoscaling, its alarms, its endpoint
configurations and their models, so there is no rolling back to what it served. What stays: the registry, from which
`python -m ml deploy` makes the endpoint anew, logs, and all objects in S3, captured calls included.
"""

import argparse

from ml import place as places
from ml.aws import alarms, configurations, endpoints, scaling
from ml.aws.client import AwsError, Tell
from ml.errors import MlError
from ml.place import Stopwatch


class NotConfirmed(MlError):
    """Nobody said that it may go."""


def delete(endpoint: str, tell: Tell) -> None:
    """Return when the endpoint and what was made for it are gone, the rest too if an earlier attempt was cut short.

    Raises AwsError, also if there was nothing: whoever mistypes a name goes on paying.
    """
    scaling.deregister(endpoint)
    there = endpoints.delete(endpoint, tell)
    ended, made = alarms.keep_only(endpoint), configurations.delete_all(endpoint)
    if not (there or ended or made):
        raise AwsError(f"there is no endpoint {endpoint}, and nothing that was made for one; is the name right?")
    tell(f"the endpoint {endpoint} is gone, and {ended} alarms, {made} endpoint configurations, {made} models with it")


def confirm(endpoint: str) -> None:
    """Ask a person to type the endpoint's name. Raises NotConfirmed."""
    print(f"This deletes the endpoint {endpoint}, its autoscaling, alarms, endpoint configurations and models.")
    try:
        typed = input("Its name, to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != endpoint:
        raise NotConfirmed(f"nothing is deleted: type {endpoint} when asked, or add --yes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    places.add_endpoint(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    if not arguments.yes:
        confirm(arguments.endpoint)
    delete(arguments.endpoint, Stopwatch().step("delete"))
    return 0
