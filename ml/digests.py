"""The SHA-256 of an artefact's files, on threads: a server begins with it before it imports NumPy.

Hashing is most of a start, and releases the interpreter's lock. Standard library only.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

Fingerprint: TypeAlias = dict[str, Any]
Fingerprints: TypeAlias = Mapping[str, Future[Fingerprint]]


@contextmanager
def fingerprints(directory: Path) -> Iterator[Fingerprints]:
    """Of each of a folder's arrays, by file name; the largest first, so that no core is left with it at the end."""
    paths = sorted((path for path in directory.glob("*.npy") if path.is_file()), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield {path.name: pool.submit(fingerprint, path) for path in paths}
        finally:
            pool.shutdown(cancel_futures=True)


def fingerprint(path: Path) -> Fingerprint:
    """Of the mapped file: reading it would copy what is then mapped anyway."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
