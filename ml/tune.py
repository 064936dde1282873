"""Search for better hyperparameters: SageMaker's automatic model tuning, watched trial by trial.

    python -m ml tune --export s3://aisle/export --trials 20
    python -m ml tune --trials 20 --deploy

Trials never see the newest weeks: each leaves them out and is judged on the weeks before (validation). One more job
trains the defaults in the same way. If the best trial beats them by more than noise, --deploy trains both on everything
and judges them on the newest weeks. If it is better there too, it takes the pipeline's way to the endpoint: gate,
registry, canary. A search begins from the last one.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.table import Table

from ml import evaluate
from ml import place as places
from ml.aws import objects, tuning
from ml.aws.client import AwsError, Tell, polls
from ml.aws.training import Fleet
from ml.aws.tuning import Progress, Range, Search, Trial
from ml.contract import EXPORT_MARKER
from ml.hyperparameters import parse_hyperparameters
from ml.pipeline import bring_out
from ml.place import Place, Stopwatch
from ml.search import MARGIN
from ml.submit import add_job_arguments, fleet_of, train

# Around the defaults, which took experiments to find: twenty trials would not find the neighbourhood by themselves.
RANGES = (
    Range("household_penalty", 0.75, 12.0, logarithmic=True),
    Range("trend", 0.25, 1.25),
    Range("taste_days", 30.0, 270.0, logarithmic=True),
    Range("basket_penalty", 5.0, 80.0, logarithmic=True),
    Range("length_exponent", -0.75, -0.25),
    Range("pairs_share", 0.2, 1.25, logarithmic=True),
    Range("habit_share", 0.035, 0.14, logarithmic=True),
    Range("habit_days", 60.0, 240.0, logarithmic=True),
    Range("rebuying", 0.0, 1.0),
)
ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass
class Teller:
    """Tells each trial's end once."""

    tell: Tell
    told: set[str] = field(default_factory=set)

    def look(self, progress: Progress) -> None:
        for trial in progress.trials:
            if trial.status in ENDED and trial.name not in self.told:
                self.told.add(trial.name)
                self.tell(f"{len(self.told):3} {_said(trial)}{'  best so far' * (trial.name == progress.best)}")


def tune(place: Place, export_url: str, fleet: Fleet, given: Mapping[str, str], search: Search, tell: Tell) -> Progress:
    """Run a search to its end, telling each trial. Raises AwsError."""
    name = tuning.tune(
        search,
        image=place.image,
        role=place.hosting.role,
        export_url=export_url,
        output_url=f"s3://{place.bucket}/models",
        fleet=fleet,
        static=given,
        metrics=evaluate.metric_definitions(),
    )
    tell(f"job {name}: {search.trials} trials, {search.parallel} at a time")
    if search.parent:
        tell(f"begins from {search.parent[0]} ({search.parent[1]})")
    teller = Teller(tell)
    try:
        for _ in polls():
            progress = tuning.progress(name)
            teller.look(progress)
            if progress.status in ENDED:
                break
    except KeyboardInterrupt:
        tuning.stop(name)
        raise AwsError(f"interrupted; the tuning job {name} is being stopped") from None
    if not progress.best:
        raise AwsError(f"the tuning job {name} ended as {progress.status} without a result: {progress.failure}")
    return progress


def _said(trial: Trial) -> str:
    value = "no objective" if trial.value is None else f"{trial.value:.6f}"
    return f"{trial.status:<9} {value}  {_settings(trial)}  {trial.failure}".rstrip()


def _settings(trial: Trial) -> str:
    return "  ".join(f"{name} {float(value):.4g}" for name, value in trial.settings.items())


def table(progress: Progress, defaults: float) -> Table:
    """The ten best trials that ran to their end, beside the defaults."""
    grid = Table(title="Objective on validation weeks", title_justify="left")
    grid.add_column("objective", no_wrap=True)
    grid.add_column("over defaults", justify="right", no_wrap=True)
    grid.add_column("settings", overflow="fold")
    whole = [(trial.value, trial) for trial in progress.trials if trial.status == "Completed" and trial.value]
    for value, trial in sorted(whole, key=lambda pair: -pair[0])[:10]:
        grid.add_row(f"{value:.6f}", f"{value / defaults - 1:+.2%}", _settings(trial))
    grid.add_row(f"{defaults:.6f}", "", "defaults")
    return grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trials", type=places.whole(1), default=20, metavar="N", help="training jobs in all (%(default)s)"
    )
    parser.add_argument(
        "--parallel", type=places.whole(1), default=2, metavar="N", help="of them at a time (%(default)s)"
    )
    parser.add_argument(
        "--deploy", action="store_true", help="train with the best settings and take them to the endpoint"
    )
    add_job_arguments(parser)
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    place, fleet, given = Place.of(arguments), fleet_of(arguments), dict(arguments.set)
    parse_hyperparameters(given)
    objects.require_export(arguments.export, EXPORT_MARKER)
    skipping = {"skip_days": str(evaluate.HOLDOUT_DAYS), **given}
    ranges = tuple(each for each in RANGES if each.name not in given)
    search = Search(ranges, evaluate.OBJECTIVE, arguments.trials, arguments.parallel)
    search = replace(search, parent=tuning.parent(search, place.image, arguments.export, skipping))
    step = Stopwatch().step
    defaults = train(place, arguments.export, fleet, skipping, step("defaults")).metrics[evaluate.OBJECTIVE]
    progress = tune(place, arguments.export, fleet, skipping, search, step("tune"))
    Console().print(table(progress, defaults))
    best = next(trial for trial in progress.trials if trial.name == progress.best)
    settings = {**given, **best.settings}
    if not best.value or best.value <= defaults * (1 + MARGIN):
        step("done")(f"no trial beats the defaults by {MARGIN:.1%}; what serves stays")
        return 1
    if not arguments.deploy:
        words = " ".join(f"--set {name}={value}" for name, value in settings.items())
        step("done")(f"to deploy it: python -m ml pipeline {words}")
        return 0
    jobs = [
        train(place, arguments.export, fleet, each, step(name))
        for name, each in (("best", settings), ("defaults", given))
    ]
    ours, theirs = (job.metrics[evaluate.OBJECTIVE] for job in jobs)
    step("newest weeks")(f"best {ours:.6f}, defaults {theirs:.6f}: {ours / theirs - 1:+.2%}")
    if ours <= theirs:
        step("done")("the defaults are better on the newest weeks, which the search never saw; what serves stays")
        return 1
    bring_out(place, jobs[0], step)
    return 0
