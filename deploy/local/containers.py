"""What a container is here: its image's command run as a process, under SageMaker's directory contract."""

import contextlib
import http.client
import io
import logging
import os
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.process import Process

PROJECT = Path(__file__).resolve().parents[2]
# What the local cloud can run: each image's ENTRYPOINT, by repository name. SageMaker appends the verb.
IMAGES: Mapping[str, Sequence[str]] = {"aisle-model": (sys.executable, "-m", "ml")}
# Of this program's environment a container sees no more than what any Linux image has.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "NUMBA_CACHE_DIR")
STARTUP_SECONDS = 240.0  # ContainerStartupHealthCheckTimeoutInSeconds, where a variant sets none
PING_SECONDS = 2.0
STOP_SECONDS = 30.0  # SageMaker's wait between SIGTERM and SIGKILL

log = logging.getLogger("deploy.local")


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


class Server:
    """One serving container: started, pinged until it is ready, and started again whenever it dies."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.port = _free_port()
        self.calls = 0  # in flight, counted by the data plane
        self._env = {**env, "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        self._process = Process(name, command, env=self._env, log=log_path, cwd=PROJECT)
        self._stopping = threading.Event()

    def start(self, timeout: float = STARTUP_SECONDS) -> None:
        """Return when /ping answers 200. Raises Failure if it ends or stays silent instead."""
        self._process.start()
        deadline = time.monotonic() + timeout
        while not self._ping():
            if self._process.poll() is not None:
                raise Failure(self._reason(f"ended with exit code {self._process.poll()}"))
            if time.monotonic() > deadline or self._stopping.wait(0.02):
                raise Failure(self._reason("did not pass the ping health check"))
        threading.Thread(target=self._watch, name=f"watch-{self.name}", daemon=True).start()

    def abandon(self) -> None:
        """Give up a start that is under way, without waiting."""
        self._stopping.set()

    def stop(self, grace: float = STOP_SECONDS) -> None:
        """Let calls in flight finish, then SIGTERM, and SIGKILL after ``grace`` seconds."""
        deadline = time.monotonic() + grace
        while self.calls and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopping.set()
        self._process.stop(max(0.1, deadline - time.monotonic()))

    def _watch(self) -> None:
        delay = 0.1
        while not self._stopping.wait(0.1):
            code = self._process.poll()
            if code is None:
                continue
            log.warning(
                "container %s ended with exit code %s and is started again: %s", self.name, code, self._last_line()
            )
            with contextlib.suppress(OSError):
                self._process.log.replace(self._process.log.with_suffix(".previous.log"))
            if self._stopping.wait(delay):
                return
            self._process.start()
            if self._stopping.is_set():  # stop() may have looked at the process that ended
                self._process.stop(1.0)
            delay = min(2 * delay, 5.0)

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _reason(self, what: str) -> str:
        return f"The primary container {what}. Its log, {self._process.log}, ends: {self._last_line()}"

    def _last_line(self) -> str:
        return (self._process.tail(1) or "(nothing)").strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
