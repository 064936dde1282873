"""One demo for each checkout. The kernel lets go of the lock when its holder dies, however it dies: none goes stale."""

import fcntl
from pathlib import Path
from types import TracebackType


class Held(RuntimeError):
    """Another process holds the lock; ``pid`` is its id."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"process {pid} holds it")
        self.pid = pid


class Lock:
    """Held inside the ``with`` block. Raises Held on entering if another process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Lock":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise Held(pid) from None
        return self

    def sign(self, pid: int) -> None:
        """Write into it who holds it, for those who come later."""
        self._file.truncate(0)
        self._file.write(str(pid))
        self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
