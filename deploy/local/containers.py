"""What a container is here: its image's command run as a process, under SageMaker's directory contract."""

import io
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# What the local cloud can run: each image's ENTRYPOINT, by repository name. SageMaker appends the verb.
IMAGES: Mapping[str, Sequence[str]] = {"aisle-model": (sys.executable, "-m", "ml")}
# Of this program's environment a container sees no more than what any Linux image has.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "NUMBA_CACHE_DIR")


class Failure(Exception):
    """A job or an endpoint fails; the text becomes its FailureReason."""


def command(images: Mapping[str, Sequence[str]], image: str, verb: str) -> list[str]:
    """What an image runs for ``train`` or ``serve``. Raises Failure for an image that is not known here."""
    repository = image.rsplit("/", 1)[-1].split("@")[0].split(":")[0]
    if repository not in images:
        known = ", ".join(sorted(images))
        raise Failure(f"the local cloud has no container engine and cannot run the image {image!r}; it knows {known}")
    return [*images[repository], verb]


def environment(base: Path, region: str, *settings: Mapping[str, str]) -> dict[str, str]:
    """A container's whole environment: what the platform promises, then what its owner set."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    platform = {"AWS_REGION": region, "SAGEMAKER_BASE_DIR": str(base), "PYTHONUNBUFFERED": "1"}
    return {**inherited, **platform, **{name: value for each in settings for name, value in each.items()}}


def unpack(archive: bytes, directory: Path) -> None:
    """Extract a model.tar.gz below a directory, nothing outside of it. Raises Failure."""
    directory.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Failure(f"the model data is no sound .tar.gz: {error}") from None


def pack(directory: Path) -> bytes:
    """The content of a directory as a .tar.gz, fast rather than small."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name)
    return packed.getvalue()
