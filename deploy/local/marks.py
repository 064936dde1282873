"""What earlier runs of the demo have finished: a mark for each, made when it is whole."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from deploy.local.environment import STATE

DONE = STATE / "done"


def is_done(name: str, database: str, what: str = "") -> bool:
    """Whether an earlier run finished this, with this database and from the same ``what``."""
    mark = DONE / name
    there = not database.startswith("sqlite:///") or Path(database.removeprefix("sqlite:///")).exists()
    return there and mark.exists() and mark.read_text() == f"{database} {what}"


def mark_done(name: str, database: str, what: str = "") -> None:
    DONE.mkdir(parents=True, exist_ok=True)
    (DONE / name).write_text(f"{database} {what}")


def digest(files: Iterable[Path], *more: str | Path) -> str:
    """Of names, sizes and times: enough to see that something changed."""
    seen = ((str(path), path.stat()) for path in sorted((*files, *map(Path, more))) if path.is_file())
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in seen]).encode()).hexdigest()
