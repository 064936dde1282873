"""Training jobs as SageMaker lays them out, one process a host, and how to end one at a point of our choice.

A job is forked from a process that has imported the libraries, since importing them is most of what a small one costs.
That the container's command does the same is for test_train.py.
"""

import importlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ml import artefact
from ml.__main__ import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ml.train", "ml.tests.jobs"])


class Job:
    """``train`` in a process of its own; ``fatal`` is module, function, number of the call and signal that end it."""

    def __init__(self, base: Path, *fatal: Any) -> None:
        self._log = base.with_name(f"{base.name}.log")
        self._process: BaseProcess = FORKS.Process(target=_train, args=(base, self._log, fatal))
        self._process.start()

    def end(self) -> tuple[int, str]:
        """Exit code and log, once it has ended."""
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        return code, self._log.read_text()


def run(base: Path, *fatal: Any) -> tuple[int, str]:
    """Exit code and log of a job run to its end."""
    return Job(base, *fatal).end()


def _train(base: Path, log: Path, fatal: Sequence[Any]) -> None:
    with log.open("wb") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    os.environ["SAGEMAKER_BASE_DIR"] = str(base)
    if fatal:
        _arm(*fatal)
    sys.exit(main(["train"]))


def _arm(module: str, function: str, number: int, signal: int) -> None:
    """Let this process end by a signal when a function is called for the n-th time."""
    place: Any = importlib.import_module(module)
    *owner, name = function.split(".")
    for each in owner:
        place = getattr(place, each)
    real, calls = getattr(place, name), 0

    def fatal(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            if name == "_write":  # amid a write
                path, content = arguments
                path.with_name(path.name + ".0.part").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal)
        return real(*arguments)

    setattr(place, name, fatal)


def lay_out(
    base: Path, export: Path, hosts: Sequence[str] = ("algo-1",), current: str = "algo-1", **given: str
) -> Path:
    """What a container finds below /opt/ml."""
    (base / "input" / "config").mkdir(parents=True)
    config: dict[str, Any] = {
        "hyperparameters": {"candidates": "12", **given},
        "inputdataconfig": {"export": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}},
        "resourceconfig": {"hosts": list(hosts), "current_host": current},
    }
    for name, content in config.items():
        (base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
    shutil.copytree(export, base / "input" / "data" / "export")
    return base


def weights(base: Path) -> Any:
    """The digests of the artefact's files, the model's version apart."""
    return artefact.read_manifest(base / "model")["files"]
