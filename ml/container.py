"""Where SageMaker puts things in a container, whether it trains or serves."""

import os
from pathlib import Path


def base_directory() -> Path:
    """/opt/ml, or what SAGEMAKER_BASE_DIR says, so that several containers' processes can share a machine."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def model_directory() -> Path:
    """Where training leaves the model's files and serving finds them."""
    return base_directory() / "model"
