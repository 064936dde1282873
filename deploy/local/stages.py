"""What the demo is doing, for people: one line for each stage, with its time, live where there is a terminal."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from deploy.local.supervisor import Stopping

MARKS = {
    "done": Text("✓", style="green"),
    "kept": Text("=", style="blue"),
    "failed": Text("✗", style="red"),
    "stopped": Text("-", style="dim"),  # because another failed
}


class Stage:
    """One line. ``tell`` changes what stands behind its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""
        self.state = "runs"
        self._started = time.monotonic()
        self._seconds: float | None = None
        self._spinner = Spinner("dots", style="cyan")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started if self._seconds is None else self._seconds

    def tell(self, detail: str) -> None:
        self.detail = detail

    def keep(self) -> None:
        """Say that an earlier run has done this."""
        self.state = "kept"
        self.tell("kept from an earlier run")

    def end(self, state: str) -> None:
        self.state = state
        self._seconds = self.seconds

    def mark(self) -> RenderableType:
        return MARKS.get(self.state, self._spinner)


class Stages:
    """All lines, in the order of their starts. Threads may each have a stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: list[Stage] = []
        self._lock = threading.Lock()
        self._live = Live(get_renderable=self._lines, console=console, refresh_per_second=8, transient=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """A stage that ends with the ``with`` block: done, or failed if the block raises."""
        stage = Stage(name)
        with self._lock:
            self._stages.append(stage)
        try:
            yield stage
        except BaseException as error:
            stage.end("stopped" if isinstance(error, Stopping) else "failed")
            self._print(stage)
            raise
        stage.end("done" if stage.state == "runs" else stage.state)
        self._print(stage)

    def _print(self, stage: Stage) -> None:
        if not self._console.is_terminal:
            self._console.print(
                MARKS[stage.state], f"{stage.name:<22}{stage.seconds:6.1f} s  {stage.detail}", soft_wrap=True
            )

    def _lines(self) -> Group:
        return Group(_table(self._stages))

    def __enter__(self) -> "Stages":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()


def _table(stages: list[Stage]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=1)
    table.add_column(min_width=22, no_wrap=True)
    table.add_column(min_width=8, no_wrap=True, justify="right")
    table.add_column(style="dim", no_wrap=True, overflow="ellipsis")
    for stage in stages:
        table.add_row(stage.mark(), stage.name, f"{stage.seconds:.1f} s", Text(stage.detail))
    return table
