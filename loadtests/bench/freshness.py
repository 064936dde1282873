"""How soon what a shopper does is in the shopper's slates, on the clock of the client who did it.

Views are posted to ``/api/events`` at random moments (a Poisson process, open loop: a late post counts from the moment
that it was meant for) by shoppers who are signed in, and their slates are watched in Redis until they follow a newer
event. The model is a real one, trained on the bench's shop, with a line of ROUND_TRIP_MS before it.
"""

import http.client
import re
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench import catalogue
from loadtests.bench.clicks import RATE, Browser, Run, percentile
from loadtests.bench.endpoint import healthy
from loadtests.bench.stack import Stack, answers, free_port

ROUND_TRIP_MS = 20
RUNS, MOST_RUNS = 5, 20  # valid ones that are wanted, and all that are made for them
SHOPPERS = 400  # each does something every two seconds: the shop's limit for one shopper is as much
METRIC = re.compile(rb"^aisle_(queue_wait|invocation|write)_seconds_(sum|count) ([\d.e+-]+)$", re.MULTILINE)


def measure(stack: Stack) -> dict[str, float]:
    shop = stack.shop
    endpoint = line(stack, served(stack, trained(stack)))
    stack.worker(under_test=True, env={"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{endpoint}"})
    _, port = stack.web()
    stack.say(f"signing {SHOPPERS} shoppers in")
    first = catalogue.HOUSEHOLDS + 1
    browsers = [Browser(port, n, shop.shoppers[n - 1]) for n in range(first, first + SHOPPERS)]
    stack.say(f"{RATE} events a second, warming up")
    Run(stack.redis_port, shop.product_ids).make(browsers)
    before = told(port)
    runs: list[Run] = []
    for number in range(MOST_RUNS):
        stack.say(f"{RATE} events a second, run {number + 1}")
        runs.append(Run(stack.redis_port, shop.product_ids))
        runs[-1].make(browsers)
        if sum(run.valid for run in runs) == RUNS:
            break
    return figures(stack, runs) | steps(before, told(port))


def figures(stack: Stack, runs: Sequence[Run]) -> dict[str, float]:
    """Medians of the valid runs; where these are too few, the two that count are named as invalid."""
    valid = [run for run in runs if run.valid]
    late = {"freshness_late_p95_ms": stack.median("freshness_late_p95_ms", [run.late_p95 * 1000 for run in runs])}
    if len(valid) < RUNS:
        others, woke = (max(getattr(run, what) for run in runs) for what in ("neighbours", "late_p95"))
        why = (
            f"this machine was too busy in {len(runs) - len(valid)} of {len(runs)} runs: "
            f"others took up to {others:.0%} of a core, the bench woke {woke * 1000:.0f} ms late"
        )
        stack.invalid |= {"freshness_p50_ms": why, "freshness_p95_ms": why}
        return late
    return late | {
        key: stack.median(key, [1000 * percentile(getattr(run, what), share) for run in valid])
        for key, what, share in (
            ("freshness_p50_ms", "fresh", 0.5),
            ("freshness_p95_ms", "fresh", 0.95),
            ("freshness_post_p50_ms", "posts", 0.5),
        )
    }


def steps(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What the steps of all runs took on average, by the shop's own account."""
    grown = {name: value - before[name] for name, value in after.items()}
    return {
        f"freshness_{step}_mean_ms": 1000 * grown[f"{step}_sum"] / grown[f"{step}_count"]
        for step in ("queue_wait", "invocation", "write")
    }


def trained(stack: Stack) -> Path:
    """The folder of a model that was trained on the shop."""
    # Here: only who measures this needs it.
    import pyarrow as pa
    from pyarrow import csv, parquet

    stack.say("training a model")
    export, base = stack.folder / "export", stack.folder / "model-base"
    types = dict.fromkeys(
        ("shopper", "basket", "product_id", "kind", "name", "department", "category", "type", "brand", "size"),
        pa.string(),
    ) | {"quantity": pa.int64(), "time": pa.timestamp("us", tz="UTC"), "price": pa.float64()}
    for table in ("events", "products"):
        (export / table).mkdir(parents=True)
        rows = csv.read_csv(stack.folder / f"{table}.csv", convert_options=csv.ConvertOptions(column_types=types))
        columns = [name for name in rows.column_names if name != "stock"]
        parquet.write_table(rows.select(columns), export / table / "part-00000.parquet")
    (export / "_SUCCESS").write_text("{}")
    stack.python(
        "train", "-m", "ml", "train", "--export", str(export), "--output", str(base), "--set", "candidates=30"
    ).finish()
    return base


def served(stack: Stack, base: Path) -> int:
    """The port of the model's server, warm."""
    port = free_port()
    env = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    part = stack.python("endpoint", "-m", "ml", "serve", env=env)
    part.wait_until(lambda: healthy(port))
    return port


def line(stack: Stack, to_port: int) -> int:
    port = free_port()
    part = stack.python("line", "loadtests/bench/line.py", str(port), str(to_port), str(ROUND_TRIP_MS))
    part.wait_until(lambda: answers(port))
    return port


def told(port: int) -> dict[str, float]:
    """Sums and counts of the steps' histograms, once every process has had time to carry its own."""
    time.sleep(2.5)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read()
    connection.close()
    return {f"{step.decode()}_{what.decode()}": float(value) for step, what, value in METRIC.findall(text)}
