"""A thread that looks at something again and again, as CloudWatch does at alarms."""

import logging
import threading
from collections.abc import Callable

LOOK_SECONDS = 0.5

log = logging.getLogger("deploy.local")


class Lookout:
    """Calls ``look`` every LOOK_SECONDS from ``start`` to ``close``, whatever one look comes to."""

    def __init__(self, name: str, look: Callable[[], None]) -> None:
        self._name = name
        self._look = look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                log.exception("%s", self._name)
