"""What the endpoint does, for a person: ``python -m ml status``.

The exit code is 0 if the endpoint is in service.
"""

import argparse
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from ml import place as places
from ml.aws import alarms, endpoints, registry, scaling
from ml.aws.alarms import Alarm
from ml.aws.endpoints import Endpoint, Variant
from ml.aws.registry import Package
from ml.aws.scaling import Scaling

STAGES = {
    "Creating": "its instances start",
    "ActivatingTraffic": "calls are moved to it",
    "Baking": "it is watched",
    "Deleting": "it ends",
}


def show(endpoint: str, group: str) -> int:
    """Print what serves, what is on its way, and what is registered. Returns the exit code."""
    found, registered = endpoints.status(endpoint), registry.packages(group)
    console = Console()
    if found is None:
        console.print(f"There is no endpoint {endpoint}; `python -m ml deploy` creates it.")
    else:
        console.print(_endpoint(found, scaling.of(endpoint)))
        if found.pending:
            console.print(_deployment(found))
        console.print(_alarms([*alarms.of(found.config_name), *(alarms.of(found.pending) if found.pending else [])]))
    if registered:
        console.print(_registry(group, registered, found))
    else:
        console.print(f"The registry has no group {group} with a model; `python -m ml pipeline` registers the first.")
    return 0 if found and found.status == "InService" else 1


def _endpoint(found: Endpoint, scales: Scaling | None) -> Table:
    table = _facts(f"Endpoint {found.name}")
    table.add_row("status", found.status)
    table.add_row("serves", "\n".join(found.packages) or "a model that is not registered")
    table.add_row("configuration", found.config_name)
    table.add_row("changed", f"{found.changed:%Y-%m-%d %H:%M:%S %Z}")
    _add_variants(table, found.variants)
    table.add_row("autoscaling", _scaling(scales))
    table.add_row("last deployment", found.failure or "ended well")
    return table


def _deployment(found: Endpoint) -> Table:
    table = _facts("Deployment under way")
    table.add_row("of", "\n".join(found.pending_packages) or "a model that is not registered")
    table.add_row("configuration", found.pending)
    for variant in found.pending_variants:
        table.add_row("stage", f"{variant.stage}: {STAGES.get(variant.stage, '')}".rstrip(": "))
    _add_variants(table, found.pending_variants)
    return table


def _add_variants(table: Table, variants: Iterable[Variant]) -> None:
    for variant in variants:
        count = f"{variant.instances} of {variant.wanted} instances"
        answers = ", its answers are dropped" if variant.shadow else ""
        table.add_row(f"variant {variant.name}", f"weight {variant.weight:g}, {count}{answers}")


def _scaling(scales: Scaling | None) -> str:
    if scales is None:
        return "none"
    paused = ", paused" if scales.paused else ""
    return f"{scales.least} to {scales.most} instances at {scales.calls_per_minute:g} calls a minute each{paused}"


def _alarms(found: Sequence[Alarm]) -> Table:
    table = Table(title="Alarms that take a model back", title_justify="left")
    for heading in ("alarm", "state", "why"):
        table.add_column(heading, overflow="fold")
    for alarm in found:
        table.add_row(alarm.name, alarm.state, alarm.reason)
    return table


def _registry(group: str, registered: Sequence[Package], found: Endpoint | None) -> Table:
    table = Table(title=f"Registry {group}, newest first", title_justify="left")
    for heading in ("version", "status", "registered", "on held-out weeks", "serves"):
        table.add_column(heading, no_wrap=True)
    for package in registered:
        scores = "\n".join(f"{name} {value}" for name, value in package.metrics.items())
        here = "yes" if found and package.arn in found.packages else ""
        here = "soon" if found and package.arn in found.pending_packages else here
        table.add_row(str(package.version), package.status, f"{package.created:%Y-%m-%d %H:%M %Z}", scores, here)
    return table


def _facts(title: str) -> Table:
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    places.add_names(parser)


def run(arguments: argparse.Namespace) -> int:
    return show(arguments.endpoint, arguments.group)
