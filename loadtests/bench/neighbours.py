"""How much of this machine other programs took meanwhile: beyond a little, a figure is theirs too."""

import contextlib
import time

import psutil

MOST = 0.2  # of a core, on average, in a run that counts


class Neighbours:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._begun, self._others = time.monotonic(), self._spent()

    def share(self) -> float:
        """Of one core, that programs which this one did not start, and a hypervisor's other guests, took since."""
        return max(0.0, self._spent() - self._others) / (time.monotonic() - self._begun)

    @staticmethod
    def _spent() -> float:
        """CPU seconds of everybody else since the machine started, but for what cannot be told from ours."""
        everybody = psutil.cpu_times()
        ours = 0.0
        for process in (own := psutil.Process(), *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                ours += times.user + times.system + times.children_user + times.children_system
        steal: float = getattr(everybody, "steal", 0.0)
        return float(everybody.user + everybody.nice + everybody.system) + steal - ours
