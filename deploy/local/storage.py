"""The local cloud's disk: S3's objects kept in files, so that moto's memory survives a restart.

moto stays the owner of every object; after each request that may change one, ``keep`` compares moto's buckets with what
was written last and writes or removes the difference. A file is one object: a line of JSON (what S3 knows of it), then
its bytes. It is renamed into place when whole, so a reader meets either the old object or the new one.
"""

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeKey, S3Backend, s3_backends


class CorruptState(Exception):
    """A kept file cannot be read back; its text names the file and the cure."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} is corrupt ({problem}): `make clean` resets the local cloud")


class NoSuchObject(Exception):
    """There is no such bucket or object in the local S3."""


def replace(path: Path, *parts: bytes) -> None:
    """Write a file whole or not at all. Raises OSError, such as ENOSPC, and then leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(parts)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def split(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise NoSuchObject(f"{url!r} is not an s3:// address")
    return parts.netloc, parts.path.lstrip("/")


class Storage:
    """S3 as the other parts of the local cloud see it, mirrored below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[tuple[str, str], FakeKey] = {}
        # Held while a request changes objects, so that none is kept before moto has finished with it.
        self.writing = threading.RLock()

    @property
    def _s3(self) -> S3Backend:
        return s3_backends[ACCOUNT]["aws"]

    def restore(self) -> int:
        """Give moto every kept bucket and object. Returns how many objects. Raises CorruptState."""
        for marker in sorted(self._directory.glob("*/bucket.json")):
            name = marker.parent.name
            self._s3.create_bucket(name, _json(marker, marker.read_bytes())["region"])
            for path in sorted(marker.parent.glob("objects/*")):
                if path.suffix == ".part":  # this program died while it wrote
                    path.unlink()
                else:
                    key = _read(self._s3, name, path)
                    self._written[name, key.name] = key
        return len(self._written)

    def keep(self) -> None:
        """Bring the disk up to what moto holds. Raises OSError when the disk is full; the next call tries again."""
        with self.writing:
            current = {(bucket, key.name): key for bucket, key in self._objects()}
            self._keep_buckets()
            for place, key in current.items():
                if self._written.get(place) is not key:
                    _write(self._path(*place), key)
                    self._written[place] = key
            for place in self._written.keys() - current.keys():
                self._path(*place).unlink(missing_ok=True)
                del self._written[place]

    def read(self, url: str) -> bytes:
        """An object's bytes. Raises NoSuchObject."""
        bucket, key = split(url)
        try:
            found = self._s3.get_object(bucket, key)
        except MissingBucket:
            found = None
        if found is None:
            raise NoSuchObject(f"there is no object {url}")
        return found.value

    def write(self, url: str, content: bytes, content_type: str = "binary/octet-stream") -> None:
        """Put an object and keep it. Raises NoSuchObject if the bucket is missing, OSError if the disk is full."""
        bucket, name = split(url)
        with self.writing:
            try:
                key = self._s3.put_object(bucket, name, content)
            except MissingBucket:
                raise NoSuchObject(f"there is no bucket {bucket!r}") from None
            key.set_metadata({"Content-Type": content_type})
            self.keep()

    def remove(self, url: str) -> None:
        """Forget an object, if it is there."""
        bucket, name = split(url)
        with self.writing:
            with contextlib.suppress(MissingBucket):
                self._s3.delete_object(bucket, name)
            self.keep()

    def below(self, url: str) -> list[tuple[str, str]]:
        """Address of each object below a prefix, and its name there. Raises NoSuchObject if the bucket is missing."""
        bucket, prefix = split(url)
        if bucket not in self._s3.buckets:
            raise NoSuchObject(f"there is no bucket {bucket!r}")
        return sorted(
            (f"s3://{bucket}/{key.name}", key.name[len(prefix) :].lstrip("/") or key.name.rsplit("/", 1)[-1])
            for name, key in self._objects()
            if name == bucket and key.name.startswith(prefix) and not key.name.endswith("/")
        )

    def size(self, url: str) -> int:
        """Bytes of all objects below a prefix. Raises NoSuchObject if the bucket is missing."""
        return sum(len(self.read(each)) for each, _ in self.below(url))

    def _objects(self) -> Iterator[tuple[str, FakeKey]]:
        for name, bucket in list(self._s3.buckets.items()):
            for key in [bucket.keys.get(key_name) for key_name in list(bucket.keys)]:
                if isinstance(key, FakeKey):  # neither a delete marker nor gone meanwhile
                    yield name, key

    def _keep_buckets(self) -> None:
        kept = {marker.parent.name for marker in self._directory.glob("*/bucket.json")}
        for name, bucket in list(self._s3.buckets.items()):
            if name not in kept:
                region = json.dumps({"region": bucket.region_name})
                replace(self._directory / name / "bucket.json", region.encode())
        for name in kept - set(self._s3.buckets):
            shutil.rmtree(self._directory / name)

    def _path(self, bucket: str, key: str) -> Path:
        # A key may be longer than a file's name, or be another key's folder: so its digest names the file.
        return self._directory / bucket / "objects" / hashlib.sha256(key.encode()).hexdigest()


def _write(path: Path, key: FakeKey) -> None:
    content = key.value
    head = {
        "key": key.name,
        "size": len(content),
        "crc32": zlib.crc32(content),
        "etag": key._etag,
        "modified": key.last_modified.isoformat(),
        "storage": key.storage_class,
        "metadata": dict(key.metadata),
    }
    replace(path, json.dumps(head).encode(), b"\n", content)


def _read(s3: S3Backend, bucket: str, path: Path) -> FakeKey:
    line, _, content = path.read_bytes().partition(b"\n")
    head = _json(path, line)
    if len(content) != head.get("size") or zlib.crc32(content) != head.get("crc32"):
        raise CorruptState(path, f"its {len(content)} bytes are not the {head.get('size')} that were written")
    key = s3.put_object(
        bucket, head["key"], content, storage=head["storage"], etag=head["etag"], disable_notification=True
    )
    key.set_metadata(head["metadata"])
    key.last_modified = datetime.datetime.fromisoformat(head["modified"])
    return key


def _json(path: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CorruptState(path, str(error)) from None
    if not isinstance(value, dict):
        raise CorruptState(path, "not a JSON object")
    return value


def free(directory: Path) -> str:
    """How much room the disk below a directory has, for messages."""
    return f"{shutil.disk_usage(directory).free / 1e6:.0f} MB free at {os.fspath(directory)}"
