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
from ml.aws.client import Tell
from ml.errors import MlError
from ml.place import Stopwatch


class NotConfirmed(MlError):
    """Nobody said that it may go."""


def delete(endpoint: str, tell: Tell) -> None:
    """Return when the endpoint and what was made for it are gone; what is gone already is none to mind.

    Raises AwsError.
    """
    scaling.deregister(endpoint)
    there = endpoints.delete(endpoint, tell)
    tell(f"the endpoint {endpoint} is gone" if there else f"there is no endpoint {endpoint}")
    tell(f"{alarms.keep_only(endpoint)} alarms deleted")
    tell(f"{configurations.delete_all(endpoint)} endpoint configurations and their models deleted")


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
