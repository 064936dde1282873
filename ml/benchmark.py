"""How accurate the estimators are on data of your own or of the literature: prepare, tune, fit, and read test once.

    python -m ml benchmark DIR [--json FILE]

DIR holds train.txt and test.txt, or train_sessions.txt and test_prefixes.txt (``ml.sets``), gzipped or not. Everything
is tuned on a part of train: a random tenth of every user's products, or the last tenth of the sessions. The budget is a
number of trials, so that the same data give the same result on every machine. Where the set is one that papers report
on, as its counts tell, their figures are printed beside.

DIR may also be an exported catalogue of the shop. Then the last weeks are the test, the weeks before them tune, and the
protocols are ``ml.evaluate``'s, completion as the mean over five seeded halves.
"""

import argparse
import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ml import data, evaluate, interactions, sessions, sets
from ml.contract import EXPORT_MARKER
from ml.learn import Hyperparameters, Learner, learn
from ml.model import Model
from ml.published import published
from ml.questions import Questions, ranked
from ml.search import MARGIN, Grids, Search
from ml.sets import Lines, SetError

SEED = 20171204
HALVES = 5  # seeded halves that completion is the mean of
EXPORT_TRIALS = 5
EXPORT_GRIDS: Grids = {"trend": [0.0, 0.25, 0.5, 0.75, 1.0], "household_penalty": [1.0, 3.0, 8.0]}

Report = dict[str, Any]


class Moment(NamedTuple):
    """Seconds of the clock and of all cores' work: on a busy machine only the second says what something costs."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Moment":
        return cls(time.perf_counter(), time.process_time())


def benchmark(directory: Path, tell: Callable[[], None] = lambda: None) -> Report:
    """The whole measurement of one set; ``tell`` is called after each trial."""
    return _export(directory, tell) if _is_export(directory) else _public(directory, tell)


def _public(directory: Path, tell: Callable[[], None]) -> Report:
    family, train, test = prepared(directory)
    began = Moment.now()
    left, asked = family.validation(train, SEED)
    if not len(asked) or not len(left.product):
        raise SetError(f"{directory}: train is too small to hold anything out of it, so nothing can be tuned")
    estimator = family.Estimator(left)

    def score(settings: object) -> float:
        return _mean(family.metrics(ranked(estimator.fit(settings), asked), asked))

    search: Search[object] = Search(score, tell)
    settings = family.tune(search)
    tuned = Moment.now()
    terms = family.Estimator(train).fit(settings)
    report = _report(settings, search, began, tuned)
    report["metrics"] = family.metrics(ranked(terms, test), test)
    report["weights"] = int(sum(term.rows.nnz for term in terms))
    report["set"] = statistics(train, test)
    return report


def _export(directory: Path, tell: Callable[[], None]) -> Report:
    before, held_out = data.split(data.read(directory), evaluate.HOLDOUT_DAYS)
    left, weeks = data.split(before, evaluate.HOLDOUT_DAYS)
    began = Moment.now()
    # The settings searched shape the households' rows alone, and those answer one protocol.
    asked = [trial for trial in evaluate.trials(left, weeks, SEED) if trial.slate == "for_you"]
    learner = Learner(left)
    search: Search[Hyperparameters] = Search(
        lambda settings: _mean(_foretold(learner.learn(settings, "trial"), asked)), tell, MARGIN
    )
    settings = search.best(Hyperparameters(), EXPORT_GRIDS, EXPORT_TRIALS)
    tuned = Moment.now()
    model = learn(before, settings, version="benchmark")
    report = _report(settings, search, began, tuned)
    halves = [_foretold(model, evaluate.trials(before, held_out, SEED + half)) for half in range(HALVES)]
    report["metrics"] = {name: sum(half[name] for half in halves) / HALVES for name in halves[0]}
    report["weights"] = len(model.rows.product)
    report["set"] = {"events": len(before.interactions), "products": len(before.catalogue), "held_out": len(held_out)}
    return report


def _foretold(model: Model, asked: list[evaluate.Trial]) -> dict[str, float]:
    report = {trial.protocol: {evaluate.OURS: evaluate.score(model, trial, trial.slate)} for trial in asked}
    return evaluate.metrics(report)


def _mean(measured: dict[str, float]) -> float:
    """The geometric mean: a percent of either metric counts alike."""
    return math.prod(measured.values()) ** (1 / len(measured)) if measured else 0.0


def _report(settings: Any, search: Search[Any], began: Moment, tuned: Moment) -> Report:
    """What every measurement says, called when the last fit is done."""
    done = Moment.now()
    return {
        "fit_seconds": round(done.wall - tuned.wall, 2),
        "fit_cpu_seconds": round(done.cpu - tuned.cpu, 2),
        "tune_seconds": round(tuned.wall - began.wall, 2),
        "tune_cpu_seconds": round(tuned.cpu - began.cpu, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "trials": len(search.scores),
        "validation": search.scores[settings],
        "settings": asdict(settings),
    }


def _is_export(directory: Path) -> bool:
    return (directory / EXPORT_MARKER).is_file()


def prepared(directory: Path) -> tuple[ModuleType, Lines, Questions]:
    if sets.holds(directory, sets.INTERACTIONS):
        return interactions, *sets.read_interactions(directory)
    if sets.holds(directory, sets.SESSIONS):
        return sessions, *sets.read_sessions(directory)
    names = " nor ".join(" and ".join(pair) for pair in (sets.INTERACTIONS, sets.SESSIONS))
    raise SetError(f"{directory} holds neither {names}, gzipped or not, nor is it a whole export")


def statistics(train: Lines, test: Questions) -> dict[str, int]:
    return {
        "lines": len(train),
        "train": len(train.product),
        "products": train.products,
        "questions": len(test),
        "wanted": len(test.wanted),
    }


def table(report: Report) -> Table:
    measured = report["metrics"]
    took = f"fit {report['fit_seconds']} s, tuning {report['tune_seconds']} s, {report['peak_rss_mb']} MB"
    if len(measured) > 2:  # an export's protocols, too many for columns
        grid = Table("metric", "Aisle", title=took)
        for metric, value in measured.items():
            grid.add_row(metric, f"{value:.4f}")
        return grid
    name, rows = published(report["set"])
    grid = Table(title=name or "A set of your own: no published figures are known here")
    for heading in ("model", *measured, "source"):
        grid.add_column(heading, justify="left" if heading in ("model", "source") else "right")
    for row in rows:
        grid.add_row(row.model, *("–" if value is None else f"{value:.4f}" for value in row.values), row.source)
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
        bar = progress.add_task("trials", total=_trials(arguments.directory))
        report = benchmark(arguments.directory, lambda: progress.advance(bar))
    Console().print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _trials(directory: Path) -> int:
    if _is_export(directory):
        return EXPORT_TRIALS
    family = interactions if sets.holds(directory, sets.INTERACTIONS) else sessions
    return sum(family.TRIALS.values())
