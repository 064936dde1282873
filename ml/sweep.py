"""How a serving container answers on this machine: server workers x concurrency x batch size, each a closed loop.

The server is the image's own command, asked over HTTP by threads of this process, which share its cores. So throughput
and percentiles are a lower bound for a server that is alone, and the server's CPU time, which the kernel counts for it
and its workers, is what carries over to other machines best. Linux only: the count is read from /proc.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

import numpy as np

from ml import artefact, bench, serve
from ml.errors import MlError

START_SECONDS = 60.0
QUIET_SECONDS = 0.5  # a server that used no CPU for so long has compiled its kernel
TICK = os.sysconf("SC_CLK_TCK")


class SweepError(MlError):
    """A measurement that could not be made."""


@dataclass(frozen=True, slots=True)
class Grid:
    workers: Sequence[int] = (1, 2)
    concurrency: Sequence[int] = (1, 4, 16)
    batch: Sequence[int] = (1, 8, 64)
    seconds: float = 2.0

    def __len__(self) -> int:
        return len(self.workers) * len(self.concurrency) * len(self.batch)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination's figures. A call carries ``batch`` queries, each of which is one shopper's recommendations."""

    workers: int
    concurrency: int
    batch: int
    queries_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_query: float


def sweep(base: Path, grid: Grid, done: Callable[[Cell], None]) -> list[Cell]:
    """Measure ``base``/model in every combination of ``grid``, telling each. Raises SweepError."""
    model = artefact.load(base / "model")
    model.compile()  # numba's cache is then warm, for every server
    queries = bench.made_up_queries(model, max(grid.batch) * 8)
    cells = []
    for workers in grid.workers:
        with server(base, workers) as (process, port):
            for batch in grid.batch:
                firsts = range(0, len(queries) - batch + 1, batch)
                bodies = [bench.request(queries[first : first + batch]) for first in firsts]
                for concurrency in grid.concurrency:
                    cells.append(measure(process, port, bodies, (workers, concurrency, batch), grid.seconds))
                    done(cells[-1])
    return cells


def measure(process: int, port: int, bodies: list[bytes], combination: tuple[int, int, int], seconds: float) -> Cell:
    """One cell: ``concurrency`` threads ask as fast as they are answered."""
    workers, concurrency, batch = combination
    began, before = time.perf_counter(), cpu_seconds(process)
    with ThreadPoolExecutor(concurrency) as pool:
        asked = [pool.submit(ask, port, bodies[first:] + bodies[:first], began + seconds)
                 for first in range(concurrency)]  # fmt: skip
        taken = np.concatenate([each.result() for each in asked])
    worked, passed = cpu_seconds(process) - before, time.perf_counter() - began
    queries = len(taken) * batch
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return Cell(workers, concurrency, batch, queries / passed, float(p50), float(p99), worked / queries * 1e3)


def ask(port: int, bodies: Sequence[bytes], until: float) -> list[float]:
    """Seconds of each call on one kept connection, at least one call. Raises SweepError if one is not answered well."""
    taken: list[float] = []
    connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        for body in cycle(bodies):
            before = time.perf_counter()
            connection.request("POST", "/invocations", body)
            answer = connection.getresponse()
            answer.read()
            taken.append(time.perf_counter() - before)
            if answer.status != 200:
                raise SweepError(f"the server answered {answer.status}; its log is above")
            if time.perf_counter() > until:
                break
    except OSError as error:
        raise SweepError(f"the server stopped answering: {error}") from error
    finally:
        connection.close()
    return taken


@contextmanager
def server(base: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Process id and port of the serving container's command, once it is quiet. Raises SweepError."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    environment = {**os.environ, **settings, "SAGEMAKER_MODEL_SERVER_WORKERS": str(workers)}
    process = subprocess.Popen([sys.executable, "-m", "ml", "serve"], env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _quiet(process.pid, port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SweepError(f"the server was not ready within {START_SECONDS:.0f} s; its log is above")
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(serve.DRAIN_SECONDS + 5)


def _quiet(process: int, port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("GET", "/ping")
        if connection.getresponse().status != 200:
            return False
        before = cpu_seconds(process)
        time.sleep(QUIET_SECONDS)
        return cpu_seconds(process) - before <= 2 / TICK  # a tick or two is housekeeping
    except OSError:
        time.sleep(0.05)
        return False
    finally:
        connection.close()


def cpu_seconds(process: int) -> float:
    """Used so far by a process and its children, in user and kernel mode."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return sum(_cpu_ticks(each) for each in (str(process), *children)) / TICK


def _cpu_ticks(process: str) -> int:
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])
