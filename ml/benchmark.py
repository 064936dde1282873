"""How accurate the estimators are on data of your own or of the literature: prepare, tune, fit, and read test once.

    python -m ml benchmark DIR [--json FILE]

DIR holds train.txt and test.txt, or train_sessions.txt and test_prefixes.txt (``ml.sets``), gzipped or not. Everything
is tuned on a part of train: a random tenth of every user's products, or the last tenth of the sessions. The budget is a
number of trials, so that the same data give the same result on every machine. Where the set is one that papers report
on, as its counts tell, their figures are printed beside.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ml import interactions, sessions, sets
from ml.published import published
from ml.questions import Questions, ranked
from ml.search import Search
from ml.sets import Lines, SetError

SEED = 20171204


def benchmark(directory: Path, tell: Callable[[], None] = lambda: None) -> dict[str, object]:
    """The whole measurement of one set; ``tell`` is called after each trial."""
    family, train, test = prepared(directory)
    began = time.perf_counter()
    left, asked = family.validation(train, SEED)
    estimator = family.Estimator(left)

    def score(settings: object) -> float:
        first, second = family.metrics(ranked(estimator.fit(settings), asked), asked).values()
        return float((first * second) ** 0.5)  # a percent of either counts alike

    search: Search[object] = Search(score, tell)
    settings = family.tune(search)
    tuned = time.perf_counter()
    terms = family.Estimator(train).fit(settings)
    fitted = time.perf_counter()
    return {
        "metrics": family.metrics(ranked(terms, test), test),
        "fit_seconds": round(fitted - tuned, 2),
        "tune_seconds": round(tuned - began, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "trials": len(search.scores),
        "validation": search.scores[settings],
        "settings": asdict(settings),
        "weights": int(sum(term.rows.nnz for term in terms)),
        "set": statistics(train, test),
    }


def prepared(directory: Path) -> tuple[ModuleType, Lines, Questions]:
    if sets.holds(directory, sets.INTERACTIONS):
        return interactions, *sets.read_interactions(directory)
    if sets.holds(directory, sets.SESSIONS):
        return sessions, *sets.read_sessions(directory)
    names = " nor ".join(" and ".join(pair) for pair in (sets.INTERACTIONS, sets.SESSIONS))
    raise SetError(f"{directory} holds neither {names}, gzipped or not")


def statistics(train: Lines, test: Questions) -> dict[str, int]:
    return {
        "lines": len(train),
        "train": len(train.product),
        "products": train.products,
        "questions": len(test),
        "wanted": len(test.wanted),
    }


def table(report: dict[str, object]) -> Table:
    measured: dict[str, float] = report["metrics"]  # type: ignore[assignment]
    name, rows = published(report["set"])  # type: ignore[arg-type]
    grid = Table(title=name or "a set that the literature tables here do not know")
    for heading in ("model", *measured, "source"):
        grid.add_column(heading, justify="left" if heading in ("model", "source") else "right")
    for row in rows:
        grid.add_row(row.model, *("–" if value is None else f"{value:.4f}" for value in row.values), row.source)
    took = f"fit {report['fit_seconds']} s, tuning {report['tune_seconds']} s, {report['peak_rss_mb']} MB"
    grid.add_row("Aisle", *(f"{value:.4f}" for value in measured.values()), took, style="bold")
    return grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder that holds the set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement as JSON too")


def run(arguments: argparse.Namespace) -> int:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("trials", total=sum(_trials(arguments.directory).values()))
        report = benchmark(arguments.directory, lambda: progress.advance(bar))
    Console().print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _trials(directory: Path) -> dict[str, int]:
    return interactions.TRIALS if sets.holds(directory, sets.INTERACTIONS) else sessions.TRIALS
