"""Results as JSON files: what was measured, on which machine, of which commit, with which versions."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parent
RESULTS = ROOM / "results"
PACKAGES = ("locust", "gevent", "django", "granian", "celery", "redis", "boto3")


def made(kind: str, host: str, **content: Any) -> dict[str, Any]:
    """A result of this ``kind``: run, breakpoint or faults."""
    return {
        "kind": kind,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
        **content,
    }


def save(result: Mapping[str, Any], to: Path | None = None) -> Path:
    name = f"{result['made'].replace(':', '').replace('+0000', 'Z')}-{result.get('stage', result['kind'])}.json"
    path = to or RESULTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    return path


def load(path: Path) -> dict[str, Any]:
    """Raises ValueError with one line if it is no result."""
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(result, dict) or "kind" not in result or "machine" not in result:
        raise ValueError(f"{path}: is no result of these load tests")
    return result


def machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{os.cpu_count()} × {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def commit() -> str:
    """The checkout's, with a + if it was changed since; "unknown" outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607
            capture_output=True, text=True, check=True, cwd=ROOM,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
