"""How fast the model answers and how large it is, on made-up catalogues: ratios first, milliseconds second.

    python -m ml bench [--json FILE]

Each catalogue is written as an artefact, loaded as a server loads it and asked for 24 products for histories of 20
products, drawn evenly from all of it, which no cache likes. An answer goes from a request's bytes to its answers'
bytes; the handler is all that a server does with them. *Nothing* is the same request decoded and an answer of the same
size encoded, by orjson. Every round measures everything once and each figure is the median over the rounds, so that a
neighbour's busy minute does not decide a ratio. The figures are single-threaded; a server has a process for each core.
"""

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ml import artefact, kernel, serve
from ml.contract import VERSION, HistoryItem, Query
from ml.errors import MlError
from ml.model import SECONDS_A_DAY, Model
from ml.slates import HOUSEHOLDS, ROW_SETS, SLATES

HISTORY, LIMIT, BATCH, SEED = 20, 24, 64, 3
COLD_STARTS = 3
PLAIN = 200  # queries of a round for the plain kernel
REQUESTS = "requests.jsonl"  # beside the model: what it was asked, a request a line
PATIENCE = 60.0  # seconds for a server to start
Figures = dict[str, float]


class BenchError(MlError):
    """A measurement that could not be made."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A catalogue to be measured; ``key`` begins the names of its figures."""

    key: str
    products: int
    neighbours: int


SHELVES = (Shelf("twenty_thousand_products", 20_000, 200), Shelf("million_products", 1_000_000, 100))
QUICK = (Shelf("twenty_thousand_products", 300, 20), Shelf("million_products", 900, 10))


@dataclass(frozen=True, slots=True)
class Effort:
    rounds: int = 7
    queries: int = 2_000  # of a round
    cold_starts: int = COLD_STARTS


def made_up(shelf: Shelf) -> Model:
    """A model whose one filled row-set has ``neighbours`` different products in every row, in order, as ml.learn's."""
    draw = np.random.default_rng(SEED)
    products, neighbours = shelf.products, shelf.neighbours
    # One product from each of ``neighbours`` equal stretches: different without a search, and spread over everything.
    stretch = products // neighbours
    target = draw.integers(0, stretch, (products, neighbours), dtype=np.int32)
    target += np.arange(neighbours, dtype=np.int32) * np.int32(stretch)
    start = np.full(products * len(ROW_SETS) + 1, products * neighbours, dtype=np.int64)
    first = ROW_SETS.index(HOUSEHOLDS) * products
    start[:first] = 0
    start[first : first + products] = np.arange(products) * neighbours
    return Model(
        version="bench",
        product_ids=[f"p{number:07}" for number in range(products)],
        names=[f"Product {number}" for number in range(products)],
        category=[f"Category {number % 100}" for number in range(products)],
        popularity=1.0 / np.arange(1, products + 1),
        row_sets=ROW_SETS,
        rows=kernel.Rows(start, target.ravel(), draw.random(products * neighbours, dtype=np.float32)),
        slates=SLATES,
    )


def made_up_queries(model: Model, many: int) -> list[Query]:
    draw = np.random.default_rng(SEED)
    size = min(HISTORY, len(model.product_ids))
    return [
        {
            "slate_id": f"query-{number}",
            "history": [
                HistoryItem(product_id=model.product_ids[product], kind="purchase", age=day * SECONDS_A_DAY, count=1)
                for day, product in enumerate(draw.choice(len(model.product_ids), size, replace=False, shuffle=False))
            ],
            "slates": [{"name": "for_you", "limit": LIMIT}],
        }
        for number in range(many)
    ]


def request(queries: Sequence[Query]) -> bytes:
    return orjson.dumps({"version": VERSION, "queries": queries})


def handled(model: Model, body: bytes) -> None:
    """The whole handler: parse, answer, encode."""
    response = serve.invoke(model, body)
    if not response.status.startswith("200"):
        raise BenchError(f"the handler answered {response.status}")


def nothing(answer: object, body: bytes) -> None:
    orjson.loads(body)
    orjson.dumps(answer)


@contextmanager
def plainly() -> Iterator[None]:
    compiled, kernel.top = kernel.top, kernel.top_plain
    try:
        yield
    finally:
        kernel.top = compiled


def timed(call: Callable[[Any], object], bodies: Sequence[bytes], given: Callable[[bytes], Any] = bytes) -> Figures:
    """Percentiles of ``call``, and its CPU, all in milliseconds. What ``given`` makes of each body is not counted.

    ``p…`` are of the clock, so they hold the time slices of other processes; ``cpu`` (mean) and ``cpu_p99`` do not.
    """
    clock, cpu = time.perf_counter_ns, time.thread_time_ns
    taken, spent = np.empty(len(bodies)), np.empty(len(bodies))
    for number, body in enumerate(bodies):
        argument = given(body)  # fresh objects, as a request's are: old ones have fallen out of the cache
        before, worked = clock(), cpu()
        call(argument)
        spent[number], taken[number] = cpu() - worked, clock() - before
    p50, p95, p99 = np.percentile(taken, [50, 95, 99]) / 1e6
    cpu_p99 = np.percentile(spent, 99) / 1e6
    values = {"p50": p50, "p95": p95, "p99": p99, "cpu": spent.mean() / 1e6, "cpu_p99": cpu_p99}
    return {key: float(value) for key, value in values.items()}


def one_round(model: Model, queries: list[Query]) -> Figures:
    """Every way to ask, after one another."""
    bodies = [request([query]) for query in queries]
    batches = [request(queries[first : first + BATCH]) for first in range(0, len(queries) - BATCH + 1, BATCH)]
    canned = {"version": VERSION, "model_version": model.version, "answers": model.recommend(queries[:1])}
    handler = partial(handled, model)
    baseline = timed(partial(nothing, canned), bodies)["p50"]
    single, handler_single = timed(model.reply, bodies), timed(handler, bodies)
    batch = timed(model.reply, batches)["cpu"] / BATCH
    batch_handler = timed(handler, batches)["cpu"] / BATCH
    with plainly():
        plain = timed(model.reply, bodies[:PLAIN])["p50"]
    return {
        "ratio": single["p50"] / baseline,
        "handler_ratio": handler_single["p50"] / baseline,
        "batch64_ratio": batch / single["cpu"],
        "batch64_handler_ratio": batch_handler / handler_single["cpu"],
        "plain_ratio": plain / single["p50"],
        "nothing_p50_ms": baseline,
        **{f"{name}_ms": value for name, value in single.items()},
        **{f"handler_{name}_ms": value for name, value in handler_single.items()},
        "batch64_cpu_ms_per_query": batch,
        "batch64_handler_cpu_ms_per_query": batch_handler,
        "plain_p50_ms": plain,
    }


def cold_start(folder: Path, body: bytes) -> float:
    """Milliseconds from the start of a server to its first answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder.parent), "SAGEMAKER_BIND_TO_PORT": str(port)}
    before = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-m", "ml", "serve"], env=environment)
    try:
        while not _answered(port, body):
            if server.poll() is not None or time.perf_counter() - before > PATIENCE:
                raise BenchError(f"the server gave no answer within {PATIENCE:.0f} s (exit status {server.poll()})")
            time.sleep(0.005)
        return (time.perf_counter() - before) * 1e3
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _answered(port: int, body: bytes) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/invocations", body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure(shelf: Shelf, effort: Effort, folder: Path, done: Callable[[str], None]) -> Figures:
    """All figures of one catalogue. ``done`` is told each step."""
    artefact.save(made_up(shelf), folder, ("", ""), {})
    figures: Figures = {"artefact_bytes": float(sum(path.stat().st_size for path in folder.iterdir()))}
    done(f"{shelf.key}: written")
    before = time.perf_counter()
    model = serve.ready(artefact.load(folder))
    figures["load_ms"] = (time.perf_counter() - before) * 1e3
    queries = made_up_queries(model, effort.queries)
    (folder.parent / REQUESTS).write_bytes(b"".join(request([query]) + b"\n" for query in queries))
    one_round(model, queries[:BATCH])
    rounds = []
    for number in range(effort.rounds):
        rounds.append(one_round(model, queries))
        done(f"{shelf.key}: round {number + 1}")
    figures = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]} | figures
    starts = []
    for _ in range(effort.cold_starts):
        starts.append(cold_start(folder, request(queries[:1])))
        done(f"{shelf.key}: cold start")
    if starts:
        figures["cold_start_ms"] = statistics.median(starts)
    return {f"{shelf.key}_{key}": value for key, value in figures.items()}


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    try:
        described = Path("/proc/cpuinfo").read_text()
        processor = next(line.partition(":")[2].strip() for line in described.splitlines() if "model name" in line)
    except (OSError, StopIteration):
        processor = platform.processor()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "orjson", "httptools")},
    }


def bench(shelves: Sequence[Shelf], effort: Effort, base: Path | None = None) -> dict[str, Any]:
    """The report. ``base`` keeps the model, and REQUESTS, of the one shelf that is then measured."""
    figures: Figures = {}
    report = {"machine": machine(), "settings": {"rounds": effort.rounds, "queries": effort.queries, "seed": SEED}}
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as scratch, Progress(*columns, console=Console(stderr=True)) as progress:
        steps = len(shelves) * (1 + effort.rounds + effort.cold_starts)
        bar = progress.add_task("making up catalogues", total=steps)
        for shelf in shelves:
            folder = (base or Path(scratch) / shelf.key) / "model"
            figures |= measure(shelf, effort, folder, lambda step: progress.update(bar, advance=1, description=step))
    return report | {"catalogues": {shelf.key: [shelf.products, shelf.neighbours] for shelf in shelves}} | {
        "load_average_after": [round(load, 2) for load in os.getloadavg()], "figures": figures
    }  # fmt: skip


def table(report: dict[str, Any]) -> Table:
    """A row a figure, a column a catalogue."""
    catalogues, figures = report["catalogues"], report["figures"]
    made = Table("figure", title=f"{report['machine']['processor']}, load {report['machine']['load_average'][0]}")
    for products, neighbours in catalogues.values():
        made.add_column(f"{products:,} x {neighbours}", justify="right")
    first = next(iter(catalogues))
    for key in (name.removeprefix(f"{first}_") for name in figures if name.startswith(f"{first}_")):
        values = [figures[f"{catalogue}_{key}"] for catalogue in catalogues]
        made.add_row(key, *(f"{value:,.0f}" if value >= 1000 else f"{value:.4g}" for value in values))
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets machine, settings and figures")
    parser.add_argument(
        "--base", type=Path, metavar="DIR",
        help=f"measure the smaller catalogue alone and leave DIR/model, ready to be served, and DIR/{REQUESTS}",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny catalogues and one round: tries the bench itself")


def run(arguments: argparse.Namespace) -> int:
    shelves: Sequence[Shelf]
    shelves, effort = (QUICK, Effort(1, BATCH, 1)) if arguments.quick else (SHELVES, Effort())
    if arguments.base:
        shelves, effort = shelves[:1], replace(effort, cold_starts=0)
    report = bench(shelves, effort, arguments.base)
    Console(width=100).print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0
