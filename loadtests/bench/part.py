"""One process under measurement: pinned to a core, with a log, its CPU time, and an end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
PINNED = Path(__file__).with_name("pinned.py")
PATIENCE = 60.0  # seconds until a part must be ready


class BenchError(Exception):
    """A measurement that could not be made: one line why."""


class Part:
    """A command on ``core`` in a process group of its own, which ends when this program does, even by SIGKILL."""

    def __init__(self, name: str, command: Sequence[str], core: int, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-IS", str(PINNED), str(os.getpid()), str(core), *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=dict(env), cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises BenchError if the part ends before it is ready, or is late."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self._child.poll() is not None:
                raise BenchError(f"{self.name} ended before it was ready:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} is not ready after {PATIENCE:.0f} s:\n{self.tail()}")
            time.sleep(0.02)

    def finish(self) -> None:
        """Wait for its end. Raises BenchError if that was not a good one."""
        if self._child.wait():
            raise BenchError(f"{self.name} failed:\n{self.tail()}")

    def cpu_seconds(self) -> float:
        """User and system time of this process and those it started, ended ones that it waited for included.

        The kernel counts in hundredths of a second: measure over seconds.
        """
        spent = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system + times.children_user + times.children_system
        return spent

    def memory(self) -> int:
        """Resident bytes of this process and those it started; pages that they share count for each."""
        resident = 0
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                resident += process.memory_info().rss
        return resident

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, then, after ``grace`` seconds, SIGKILL to all that is left of its group. Again is harmless."""
        if self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess as error:
            raise BenchError(f"{self.name} is gone:\n{self.tail()}") from error
