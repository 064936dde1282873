"""What a training job may set, checked where it is asked for and again where it runs."""

import argparse
from collections.abc import Mapping

from ml import evaluate
from ml.errors import MlError
from ml.learn import Hyperparameters

# skip_days: newest days to leave out altogether, so that tuning never sees what the result will be judged by.
RUN_SETTINGS = {"holdout_days": evaluate.HOLDOUT_DAYS, "skip_days": 0, "seed": evaluate.SEED}
# What a job may set; whole numbers where the limits are. Outside of them the fit is singular or means nothing.
RANGES: dict[str, tuple[float, float]] = {
    "candidates": (1, 1_000),
    "damping": (0.0, 2.0),
    "household_penalty": (0.001, 100_000.0),
    "trend": (-2.0, 2.0),
    "basket_penalty": (0.001, 100_000.0),
    "pair_history": (-2.0, 2.0),
    "pair_candidate": (-2.0, 2.0),
    "length_exponent": (-2.0, 2.0),
    "rebuying": (-2.0, 2.0),
    "taste_days": (1.0, 36_500.0),
    "habit_days": (1.0, 36_500.0),
    "pairs_share": (0.0, 100.0),
    "habit_share": (0.0, 100.0),
    "holdout_days": (1, 365),
    "skip_days": (0, 365),
    "seed": (0, 2**32 - 1),
}


class HyperparameterError(MlError):
    """A hyperparameter that does not exist, or a value that it cannot have."""


def parse_hyperparameters(given: Mapping[str, str]) -> tuple[Hyperparameters, dict[str, int]]:
    """SageMaker hands every value over as a string. Raises HyperparameterError naming the one that does not fit."""
    values = {name: _number(name, text) for name, text in given.items()}
    run_settings = {name: int(values.pop(name, default)) for name, default in RUN_SETTINGS.items()}
    return Hyperparameters(**values), run_settings  # type: ignore[arg-type]


def _number(name: str, text: str) -> float:
    if name not in RANGES:
        raise HyperparameterError(f"hyperparameter {name!r:.60} is unknown; known are {', '.join(sorted(RANGES))}")
    least, most = RANGES[name]
    whole = isinstance(least, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise HyperparameterError(
            f"hyperparameter {name} is {text!r:.60}, it must be a {'whole ' * whole}number"
        ) from None
    if not least <= value <= most:  # nor is nan
        raise HyperparameterError(f"hyperparameter {name} is {text!r:.60}, it must be from {least} to {most}")
    return value


def add_hyperparameters(parser: argparse.ArgumentParser) -> None:
    """The flag for them, whatever trains."""
    parser.add_argument(
        "--set", action="append", default=[], type=_pair, metavar="NAME=VALUE",
        help="a hyperparameter, such as candidates=50",
    )  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
