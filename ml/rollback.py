"""Go back to what served before: ``python -m ml rollback``.

While a deployment is under way, one of its alarms is set off, and AWS takes the calls back itself. Otherwise the
endpoint moves, at once, to the configuration that its own one replaced; a second rollback goes back one more.
"""

import argparse

from ml import place as places
from ml.aws import alarms, configurations, endpoints, scaling
from ml.aws.client import AwsError, Tell
from ml.place import Stopwatch


def rollback(endpoint: str, tell: Tell) -> None:
    """Return when the endpoint serves what it served before. Raises AwsError."""
    found = endpoints.status(endpoint)
    if found is None:
        raise AwsError(f"there is no endpoint {endpoint}, so there is nothing to go back to")
    if found.pending:
        tell(f"ends the deployment of {found.pending}")
        alarms.raise_one(found.pending, "python -m ml rollback")
        endpoints.wait(endpoint, found.config_name, tell)
        return
    before = configurations.replaced_by(found.config_name)
    tell(f"from {found.config_name} to {before}")
    with scaling.paused(endpoint) as scales:
        endpoints.update(endpoint, before, None, [], keep_count=scales)
        endpoints.wait(endpoint, before, tell)
    alarms.create(endpoint, before)
    alarms.keep_only(endpoint, before)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    places.add_names(parser)


def run(arguments: argparse.Namespace) -> int:
    rollback(arguments.endpoint, Stopwatch().step("rollback"))
    return 0
