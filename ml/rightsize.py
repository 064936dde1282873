"""Which instance, and how many workers: by Inference Recommender on AWS, or by a sweep on this machine.

    python -m ml rightsize [MODEL_PACKAGE_ARN]             AWS chooses instance types (a Default job, up to 45 minutes)
    python -m ml rightsize --advanced ml.c6i.large …       AWS load-tests these, with 1, 2 and 4 server workers
    python -m ml rightsize --local [--plot FILE.svg]       no AWS: the serving command on this machine's cores

The AWS jobs start instances and are billed. The local sweep measures a made-up catalogue of 20,000 products with 200
neighbours each, or DIR/model with --model DIR; what it says of an instance's cost is arithmetic from this machine's
cores, not a measurement of that instance.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ml import artefact, bench, chart, prices
from ml import place as places
from ml.aws import registry, sizing
from ml.sweep import Cell, Grid, sweep

SAMPLES, BATCH = 20, 8  # requests of the payload, and queries in each, as many as a drain on a busy day sends
WORKERS = (1, 2, 4)
CALLS_PER_MINUTE, LATENCY_MS = 30_000, 500
QUICK = Grid((1,), (1, 2), (1, 4), seconds=0.1)


def on_aws(arguments: argparse.Namespace) -> int:
    """Upload sample requests, request one job, wait for it and print what it found."""
    place, tell = places.Place.of(arguments), places.Stopwatch().step("rightsize")
    package = arguments.package or registry.newest_approved(place.group)
    payload = f"s3://{place.bucket}/rightsize/payload.tar.gz"
    model = bench.made_up(bench.SHELVES[0])
    queries = bench.made_up_queries(model, SAMPLES * BATCH)
    sizing.upload_payload(payload, [bench.request(queries[i : i + BATCH]) for i in range(0, len(queries), BATCH)])
    if arguments.advanced:
        name = sizing.request_advanced(
            package, place.hosting.role, payload, instance_types=arguments.advanced, workers=WORKERS,
            calls_per_minute=CALLS_PER_MINUTE, latency_ms=LATENCY_MS,
        )  # fmt: skip
    else:
        name = sizing.request_default(package, place.hosting.role, payload)
    tell(f"{name} for {package}")
    Console(width=120).print(found_table(sizing.wait(name, tell)))
    return 0


def found_table(found: Sequence[sizing.Recommendation]) -> Table:
    table = Table(title=f"Inference Recommender, {BATCH} queries a call, the cheapest first", title_justify="left")
    for heading in ("instance", "settings", "$ an hour", "calls a minute", "latency, as AWS gives it", "$ a million"):
        table.add_column(heading, justify="left" if heading in {"instance", "settings"} else "right")
    for each in found:
        table.add_row(
            f"{each.instances} x {each.instance_type}",
            " ".join(f"{name}={value}" for name, value in each.settings.items()),
            f"{each.cost_per_hour:.3f}", f"{each.calls_per_minute:,}", f"{each.latency:,}",
            f"{each.cost_per_call / BATCH * 1e6:.3f}",
        )  # fmt: skip
    return table


def here(arguments: argparse.Namespace) -> int:
    """Sweep, print both tables, and leave the plot."""
    console = Console(width=100)
    grid = QUICK if arguments.quick else Grid()
    with tempfile.TemporaryDirectory() as scratch:
        base = arguments.model or Path(scratch)
        if arguments.model is None:
            shelf = bench.QUICK[0] if arguments.quick else bench.SHELVES[0]
            artefact.save(bench.made_up(shelf), base / "model", ("", ""), {})
        with console.status("measuring") as status:
            cells = sweep(base, grid, lambda cell: status.update(f"measured {cell}"))
    load = f"{os.cpu_count()} cores shared with the asking side, load {os.getloadavg()[0]:.1f}"
    console.print(cells_table(cells, load))
    console.print(cost_table(cells))
    if arguments.plot:
        arguments.plot.write_text(plot(cells, load))
    return 0


def cells_table(cells: Sequence[Cell], load: str) -> Table:
    table = Table(title=f"On this machine: {load}", title_justify="left")
    for heading in ("workers", "concurrency", "batch", "queries/s", "p50 ms", "p99 ms", "CPU ms/query"):
        table.add_column(heading, justify="right")
    for cell in cells:
        table.add_row(
            str(cell.workers), str(cell.concurrency), str(cell.batch), f"{cell.queries_per_second:,.0f}",
            f"{cell.p50_ms:.2f}", f"{cell.p99_ms:.2f}", f"{cell.cpu_ms_per_query:.3f}",
        )  # fmt: skip
    return table


def cost_table(cells: Sequence[Cell]) -> Table:
    """What a million queries would cost if an instance's vCPU did what a core here did, and did nothing else."""
    cpu_ms = {batch: least_cpu(cells, batch) for batch in sorted({cell.batch for cell in cells})}
    table = Table(
        title="Arithmetic, not a measurement of instances: a vCPU taken as a core here, wholly busy",
        caption=f"Prices {prices.AS_OF}.", title_justify="left", caption_justify="left",
    )  # fmt: skip
    for heading in ("instance", "vCPU", "$ an hour", *(f"$ a million, batch {batch}" for batch in cpu_ms)):
        table.add_column(heading, justify="left" if heading == "instance" else "right")
    for each in prices.INSTANCES:
        costs = (f"{dollars_per_million(each, milliseconds):.4f}" for milliseconds in cpu_ms.values())
        table.add_row(each.name, str(each.vcpus), f"{each.dollars_per_hour:.3f}", *costs)
    return table


def least_cpu(cells: Sequence[Cell], batch: int) -> float:
    """Milliseconds of CPU a query: the least over the cells of a batch size, for other work only ever adds to it.

    Not a number if every cell was too short for the kernel's clock to see any.
    """
    seen = [cell.cpu_ms_per_query for cell in cells if cell.batch == batch and cell.cpu_ms_per_query > 0]
    return min(seen, default=math.nan)


def dollars_per_million(instance: prices.Instance, cpu_ms_per_query: float) -> float:
    queries_per_hour = 3_600_000 / cpu_ms_per_query * instance.vcpus
    return instance.dollars_per_hour / queries_per_hour * 1e6


def plot(cells: Sequence[Cell], load: str) -> str:
    """Throughput against the 99th percentile, a line for each number of workers and batch size."""
    series: dict[str, list[chart.Point]] = {}
    for cell in cells:
        name = f"{cell.workers} worker{'s' * (cell.workers > 1)}, batch {cell.batch}"
        point = chart.Point(cell.queries_per_second, cell.p99_ms, str(cell.concurrency))
        series.setdefault(name, []).append(point)
    return chart.scatter(f"Labels: concurrent callers. {load}", "queries a second", "p99 of a call, ms", series)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", nargs="?", metavar="MODEL_PACKAGE_ARN", help="default: the newest approved")
    parser.add_argument("--advanced", nargs="+", metavar="TYPE", help="load-test these instance types")
    parser.add_argument("--local", action="store_true", help="sweep on this machine instead, without AWS")
    parser.add_argument("--model", type=Path, metavar="DIR", help="with --local: measure DIR/model")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --local: gets the plot, as SVG")
    parser.add_argument("--quick", action="store_true", help="with --local: tries the sweep itself")
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    return here(arguments) if arguments.local else on_aws(arguments)
