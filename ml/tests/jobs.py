"""Training jobs as SageMaker lays them out, one process a host, and how to end one at a point of our choice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml import artefact

# Ends its own process by a signal when a function is called for the n-th time.
FATAL = """
import importlib, os, sys
from pathlib import Path
from ml.__main__ import main
module, function, number, signal = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
*owner, name = function.split(".")
place = importlib.import_module(module)
for each in owner:
    place = getattr(place, each)
real, calls = getattr(place, name), 0
def fatal(*arguments):
    global calls
    calls += 1
    if calls == number:
        if name == "_write":  # amid a write
            path, content = arguments
            path.with_name(path.name + ".0.part").write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal)
    return real(*arguments)
setattr(place, name, fatal)
sys.exit(main(["train"]))
"""


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


def start(base: Path, *fatal: object) -> subprocess.Popen[str]:
    """The container's command; ``fatal`` is module, function, number of the call and signal that end it."""
    words = ["-c", FATAL, *map(str, fatal)] if fatal else ["-m", "ml", "train"]
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(base: Path, *fatal: object) -> tuple[int, str]:
    """Exit code and log of a job run to its end."""
    process = start(base, *fatal)
    said, _ = process.communicate()
    return process.returncode, said


def weights(base: Path) -> Any:
    """The digests of the artefact's files, the model's version apart."""
    return artefact.read_manifest(base / "model")["files"]
