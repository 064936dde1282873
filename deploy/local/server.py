"""One serving container: started, pinged until it is ready and ever after, and replaced when it dies or hangs."""

import contextlib
import http.client
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.containers import PROJECT, Failure
from deploy.local.environment import free_port
from deploy.local.logs import Follower, Stream
from deploy.local.process import Process

STARTUP_SECONDS = 240.0  # ContainerStartupHealthCheckTimeoutInSeconds, where a variant sets none
PING_SECONDS = 2.0  # SageMaker's limit on one answer to /ping
PING_EVERY_SECONDS = 5.0
MOST_MISSED = 3  # pings in a row; SageMaker does not say how many it takes
STOP_SECONDS = 30.0  # SageMaker's wait between SIGTERM and SIGKILL

log = logging.getLogger("deploy.local")


class Server:
    """``healthy`` and ``calls`` (those in flight, counted by the data plane) say who should get the next call."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log_path: Path, stream: Stream
    ) -> None:
        self.name = name
        self.port = free_port()
        self.calls = 0
        self.healthy = False
        self._process = Process(
            name, command, env={**env, "SAGEMAKER_BIND_TO_PORT": str(self.port)}, log=log_path, cwd=PROJECT
        )
        self._stopping = threading.Event()
        self._stream, self._follower = stream, Follower(log_path)

    @property
    def pid(self) -> int:
        """Of its main process, and of the group that all its processes are in."""
        return self._process.pid

    def start(self, timeout: float) -> None:
        """Return when /ping answers 200. Raises Failure if it ends or stays silent instead."""
        self._process.start()
        deadline = time.monotonic() + timeout
        try:
            while not self._ping():
                if self._process.poll() is not None:
                    raise Failure(self._reason(f"ended with exit code {self._process.poll()}"))
                if time.monotonic() > deadline or self._stopping.wait(0.02):
                    raise Failure(self._reason("did not pass the ping health check"))
        except Failure:
            self._stream.send(self._follower.rest())
            raise
        self.healthy = True
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
        """Replace the container whenever it ends, or has missed its pings."""
        delay, missed, patience, next_ping = 0.1, 0, 0.0, time.monotonic() + PING_EVERY_SECONDS
        while not self._stopping.wait(0.1):
            self._stream.send(self._follower.lines())
            why = self._ended()
            if not why and (time.monotonic() >= next_ping or not self.healthy):
                if self._ping():
                    self.healthy, missed, delay = True, 0, 0.1
                elif time.monotonic() > patience:
                    missed += 1
                    why = "does not answer /ping" if missed >= MOST_MISSED else ""
                next_ping = time.monotonic() + PING_EVERY_SECONDS
            if why:
                self.healthy, missed = False, 0
                self._replace(why, delay)
                delay, patience = min(2 * delay, 5.0), time.monotonic() + STARTUP_SECONDS
        self._stream.send(self._follower.rest())

    def _ended(self) -> str:
        code = self._process.poll()
        return "" if code is None else f"ended with exit code {code}"

    def _replace(self, why: str, delay: float) -> None:
        log.warning("container %s %s and is started again: %s", self.name, why, self._last_line())
        self._process.stop(0.0)  # SIGKILL: what hangs does not hear SIGTERM
        self._stream.send(self._follower.rest())
        with contextlib.suppress(OSError):
            self._process.log.replace(self._process.log.with_suffix(".previous.log"))
        self._follower = Follower(self._process.log)
        if self._stopping.wait(delay):
            return
        self._process.start()
        if self._stopping.is_set():  # stop() may have looked at the process that ended
            self._process.stop(1.0)

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
