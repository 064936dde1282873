"""Everything the demo started: nothing of it outlives the demo, and none of it dies unnoticed."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from deploy.local.process import Process

POLL_SECONDS = 0.05


class Stopping(Exception):
    """The supervisor is ending its processes, or must since one failed: whoever waits for something, stop."""


class Ended(Exception):
    """A process ended that should not have, or not like this."""

    def __init__(self, process: Process, code: int) -> None:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{process.name} {how}")
        self.process = process


class Supervisor:
    """Starts services, runs commands, and stops them all on leaving the ``with`` block.

    A service that others need (Redis, the local cloud) is ``base`` and stops last. Leaving the block with Stopping
    raises the Ended that was its cause.
    """

    def __init__(self) -> None:
        self._services: list[Process] = []
        self._base: list[Process] = []
        self._commands: list[Process] = []
        self._lock = threading.Lock()
        self._stopping = False
        self.failed: Ended | None = None  # the first service that ended by itself

    def serve(self, process: Process, *, base: bool = False) -> None:
        """Start what should run until the end."""
        self._start(process, self._base if base else self._services)

    def run(self, process: Process, watch: Callable[[Process], None] = lambda process: None) -> None:
        """Run a command to its end, calling ``watch`` meanwhile. Raises Ended if it fails, Stopping if others do."""
        self._start(process, self._commands)

        def done() -> bool:
            watch(process)
            return process.poll() is not None

        self.wait_until(done)
        code = process.wait()
        if self._stopping:
            raise Stopping
        if code:
            raise Ended(process, code)

    def wait_until(
        self, condition: Callable[[], bool], service: Process | None = None, every: float = POLL_SECONDS
    ) -> None:
        """Return when the condition holds. Raises Ended if ``service``, Stopping if another service ends before."""
        while not condition():
            try:
                self.check()
            except Stopping:
                if self.failed is not None and self.failed.process is service:
                    raise self.failed from None
                raise
            time.sleep(every)

    def check(self) -> None:
        """Raise Stopping if everything must end, since somebody wants it or since a service has ended."""
        with self._lock:
            if self._stopping or self.failed:
                raise Stopping
            for process in (*self._base, *self._services):
                code = process.poll()
                if code is not None:
                    self.failed = Ended(process, code)
                    raise Stopping

    def stop(self, grace: float = 10.0) -> None:
        """End everything: what uses Redis and the cloud first, then those two."""
        with self._lock:
            self._stopping = True
        for group in (self._commands + self._services, self._base):
            if group:
                with ThreadPoolExecutor(len(group)) as pool:
                    list(pool.map(lambda process: process.stop(grace), group))

    def _start(self, process: Process, group: list[Process]) -> None:
        with self._lock:  # or a thread could start one behind stop()'s back
            if self._stopping:
                raise Stopping
            process.start()
            group.append(process)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(error, Stopping) and self.failed:
            raise self.failed from None
