"""What a training job has finished, kept in /opt/ml/checkpoints, which SageMaker copies to S3 and back.

    <digest>/manifest.json                what the digest is made of, for people
    <digest>/model-01-17.<sha256>         a block of a fit, or the evaluation

The digest is of the export's bytes, the hyperparameters, this code and its libraries: with anything else the work would
not be the same, so it is not looked at. A file appears whole or not at all and its name says its content's SHA-256, so
a process may be killed at any time. Nothing is removed: SageMaker would remove it from S3, for other jobs too. Bits are
those of one kind of processor; a job's instance type says which.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "numba")
MANIFEST = "manifest.json"
UNFINISHED = ".part"


def fingerprint(export: Path, settings: Mapping[str, float]) -> dict[str, object]:
    """All that a fit's result depends on but the machine."""
    return {
        "export": _digest_of(export, "**/*"),
        "settings": dict(sorted(settings.items())),
        "code": _digest_of(Path(__file__).parent, "*.py"),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def digest(fingerprint: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoints:
    """Named pieces of one job's work below ``directory``."""

    def __init__(self, directory: Path, made_of: Mapping[str, object]) -> None:
        own = digest(made_of)
        self._directory = directory / own
        if others := sorted(path.name for path in directory.glob("*/") if path.name != own):
            print(
                f"checkpoints of other data, hyperparameters or code are ignored: {', '.join(others):.200}", flush=True
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        _write(self._directory / MANIFEST, json.dumps(made_of, indent=2).encode())
        self._kept = self._sound()
        if self._kept:
            print(f"resumed: {len(self._kept)} pieces of work are in the checkpoints", flush=True)

    def read(self, name: str) -> bytes | None:
        """A piece that is whole, or nothing."""
        path = self._kept.get(name)
        return path.read_bytes() if path else None

    def write(self, name: str, content: bytes) -> None:
        path = self._directory / f"{name}.{hashlib.sha256(content).hexdigest()}"
        _write(path, content)
        self._kept[name] = path

    def _sound(self) -> dict[str, Path]:
        """The pieces whose content is what their name says."""
        found = {}
        for path in self._directory.glob("*.*"):
            name, _, expected = path.name.partition(".")
            if path.name == MANIFEST or path.name.endswith(UNFINISHED):
                continue
            if hashlib.sha256(path.read_bytes()).hexdigest() == expected:
                found[name] = path
            else:
                print(f"checkpoint {name} is damaged and is made again", flush=True)
        return found


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also if the machine goes. Hosts' checkpoints meet in S3, so a host writes its own names."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest_of(directory: Path, pattern: str) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in directory.glob(pattern) if path.is_file()):
        total.update(f"{path.relative_to(directory)} {path.stat().st_size}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()
