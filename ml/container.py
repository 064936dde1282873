"""Where SageMaker puts things in a container, whether it trains or serves, and what it says there."""

import json
import os
from pathlib import Path
from typing import Any

from ml.errors import MlError


class ContainerError(MlError):
    """A job that was set up wrongly."""


def base_directory() -> Path:
    """/opt/ml, or what SAGEMAKER_BASE_DIR says, so that several containers' processes can share a machine."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def model_directory() -> Path:
    """Where training leaves the model's files and serving finds them."""
    return base_directory() / "model"


def checkpoint_directory() -> Path | None:
    """The folder that SageMaker copies to S3 and back; a job without a CheckpointConfig has none."""
    directory = base_directory() / "checkpoints"
    return directory if directory.is_dir() else None


def config(name: str) -> dict[str, Any]:
    """One of input/config's files: hyperparameters, inputdataconfig, resourceconfig. Empty if there is none."""
    path = base_directory() / "input" / "config" / f"{name}.json"
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ContainerError(f"{path} is not readable as JSON ({error})") from None
    if not isinstance(found, dict):
        raise ContainerError(f"{path} must hold a JSON object")
    return found


def channel(name: str, hosts: int) -> Path:
    """The folder of one channel, whole on every host. Raises ContainerError saying what the job lacks."""
    configured = config("inputdataconfig")
    found = configured.get(name, {})
    if configured and name not in configured:
        raise ContainerError(f"the job has the channels {', '.join(configured)}; it needs one named {name!r}")
    if found.get("TrainingInputMode", "File") not in {"File", "FastFile"}:
        raise ContainerError(f"channel {name!r} comes by {found['TrainingInputMode']}; it must be File or FastFile")
    if hosts > 1 and found.get("S3DistributionType") == "ShardedByS3Key":
        raise ContainerError(f"channel {name!r} is sharded over the hosts; each needs all of it: FullyReplicated")
    return base_directory() / "input" / "data" / name
