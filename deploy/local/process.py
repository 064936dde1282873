"""One supervised child process: its log, its end, and the end of whatever it started itself."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
# The kernel's "parent" is the thread that forked. This one lives as long as the program, whoever calls start().
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class Process:
    """A command in a process group of its own that writes stdout and stderr to ``log``.

    On Linux it also ends when this program dies, even by SIGKILL (see ``leash``). ``env`` is the whole environment.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(env)
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with an empty log. Raises FileNotFoundError if there is no such program."""
        program = shutil.which(self.command[0], path=self._env.get("PATH"))
        if program is None:
            raise FileNotFoundError(f"{self.name}: there is no program {self.command[0]}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        leashed = [sys.executable, "-IS", str(LEASH), str(os.getpid()), program, *self.command[1:]]
        self._child = _spawner.submit(self._spawn, leashed).result()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - the commands are the supervisor's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops its children in order
            )

    @property
    def pid(self) -> int:
        """Process id, which is the id of its group too."""
        return self._started().pid

    def poll(self) -> int | None:
        """Exit code (minus the signal's number if one ended it), or None while it runs."""
        code = self._started().poll()
        if code is not None:
            self._sweep()
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Exit code once it has ended. Raises subprocess.TimeoutExpired after ``timeout`` seconds."""
        code = self._started().wait(timeout)
        self._sweep()
        return code

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM to the process, which ends its own children; after ``grace`` seconds SIGKILL to all of its group."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        self._sweep()
        self._child.wait()

    def kill(self) -> None:
        """SIGKILL to all of its group, without a word."""
        self._sweep()
        self._started().wait()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 200 * lines))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def _sweep(self) -> None:
        """End what is left of the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child
