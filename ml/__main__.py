"""The cloud half's commands, and the model image's ENTRYPOINT (SageMaker appends ``train`` or ``serve``).

Begin in the cloud, or beside a running `make demo`, which stands in for it:

    python -m ml pipeline       an export in S3 becomes a model that serves
    python -m ml status         what serves, and how it does
    python -m ml delete         nothing is paid any more

Begin on a laptop, with an export in a folder and no cloud at all:

    python -m ml train --export EXPORT_DIR --output DIR
    python -m ml recommend PRODUCT_ID --model DIR/model

`python -m ml VERB --help` explains each.
"""

# Each verb is a module with ``add_arguments(parser)`` and ``run(arguments) -> int``, imported when it is called:
# ``serve`` must not wait for boto3, nor ``deploy`` for numba.

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from ml.errors import MlError

VERBS = {
    "train": ("ml.train", "learn a model from an export and score it on held-out weeks"),
    "submit": ("ml.submit", "train in the cloud: a training job, its log and its figures"),
    "serve": ("ml.serve", "answer /ping and /invocations with a trained model"),
    "evaluate": ("ml.evaluate", "score a model against popularity and co-occurrence, write nothing"),
    "newcomers": ("ml.newcomers", "score how well products that nobody has bought yet are recommended"),
    "benchmark": ("ml.benchmark", "tune, fit and measure on a set of interactions or click sessions"),
    "recommend": ("ml.recommend", "print recommendations for products, with names and reasons"),
    "distributed": ("ml.distributed", "learn the same model as Spark jobs, for more than one machine holds"),
    "bench": ("ml.bench", "measure how fast the model answers, on made-up catalogues"),
    "deploy": ("ml.deploy", "move the endpoint to a registered model, by a canary"),
    "rollback": ("ml.rollback", "move the endpoint back to what served before"),
    "status": ("ml.status", "say what the endpoint serves, what is on its way, and what is registered"),
    "delete": ("ml.delete", "delete the endpoint and what was made for it, so that nothing is paid any more"),
    "rightsize": ("ml.rightsize", "say which instance and how many workers serve at what cost, on AWS or here"),
    "tune": ("ml.tune", "search for better hyperparameters by training jobs in the cloud"),
    "pipeline": ("ml.pipeline", "train, gate, register and deploy: the whole loop in the cloud"),
}


def main(words: list[str]) -> int:
    parser = _Parser(prog="python -m ml", description=__doc__, formatter_class=_Format)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb [options]")
    for verb, (name, says) in VERBS.items():
        under = verbs.add_parser(verb, help=says, formatter_class=_Format)
        if words[:1] == [verb]:
            module = import_module(name)
            under.description = module.__doc__
            module.add_arguments(under)
    arguments = parser.parse_args(words)
    try:
        return int(import_module(VERBS[arguments.verb][0]).run(arguments))
    except MlError as error:
        print(f"{arguments.verb}: {error}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """What it refuses is one line, as every other error is."""

    def error(self, message: str) -> NoReturn:
        verb = self.prog.removeprefix("python -m ml").strip() or "ml"
        self.exit(2, f"{verb}: {message}; `{self.prog} --help` explains\n")


class _Format(argparse.RawDescriptionHelpFormatter):
    """Module docstrings as they are written."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
