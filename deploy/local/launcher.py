"""The demo from the command line: whether this machine can hold it, what it says, how it ends."""

import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from deploy.local import demo, environment
from deploy.local.deadline import Failure
from deploy.local.demo import Demo
from deploy.local.environment import ROOT, STATE, WEB_PORT
from deploy.local.lock import Held, Lock
from deploy.local.process import Process
from deploy.local.shopper import DemoShopper
from deploy.local.stages import Stages
from deploy.local.supervisor import Ended, Supervisor

FREE_BYTES = 1_500_000_000  # what .venv's growth, the database, the objects and the model take on a first run


def run(data: Path | None = None) -> int:
    """Open with the CSV files in ``data``, or with The Complete Journey.

    The exit code: 0 when stopped by a person after it was ready, 130 before, 1 when something failed.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Lock(STATE / "demo.lock") as lock:
            lock.sign(os.getpid())
            return _run(console, data and data.resolve())
    except Held as held:
        return _refuse(
            console, f"a demo of this checkout runs already, as process {held.pid}", "stop that one first (Ctrl-C)"
        )


def _run(console: Console, data: Path | None) -> int:
    started = time.monotonic()
    try:
        web_port = check_machine()
    except Failure as failure:
        return _refuse(console, str(failure), failure.cure)
    ports = environment.ports()
    own = environment.build(os.environ, ports, web_port)
    environment.write(own)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    ready, on_terminal = False, sys.stdout.isatty()
    try:
        # Left in the opposite order: the processes end first, which frees the threads that wait for them.
        with ThreadPoolExecutor() as pool, _Shielded() as supervisor:
            with Stages(console) as stages:
                shoppers = demo.launch(Demo(supervisor, stages, own, ports, web_port, data), pool)
            ready = True
            _welcome(console, web_port, shoppers, time.monotonic() - started)
            supervisor.wait_until(lambda: on_terminal and not sys.stdout.isatty(), every=0.3)
            # A connection that broke: its hang-up signal reached `make`, which only waits for this process.
    except KeyboardInterrupt:
        console.print("\nStopped." if ready else "\nInterrupted; the next run goes on from here.")
        return 0 if ready else 130
    except Ended as ended:
        return _explain(console, str(ended), f"read {ended.process.log}; afresh: make clean demo", ended.process)
    except Failure as failure:
        return _explain(console, str(failure), failure.cure, failure.log)
    return 0


class _Shielded(Supervisor):
    """Ctrl-C again, while everything is being stopped, changes nothing: the stop is bounded by itself."""

    def stop(self, grace: float = 10.0) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        super().stop(grace)


def check_machine() -> int:
    """The port for the shop. Raises Failure if this machine cannot hold the demo."""
    text = os.environ.get("PORT", str(WEB_PORT))
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise Failure(f"PORT is {text!r}, which is no port", "PORT=8080 make demo")
    port = int(text)
    if not environment.is_free(port):
        raise Failure(
            f"port {port} is in use", f"stop what listens there, or choose another: PORT={port + 1} make demo"
        )
    free = shutil.disk_usage(ROOT).free
    if free < FREE_BYTES:
        raise Failure(
            f"the disk is full: {free / 1e9:.1f} GB are free, the demo needs {FREE_BYTES / 1e9:.1f} GB",
            "free some space, then run this again",
        )
    return port


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _refuse(console: Console, why: str, cure: str) -> int:
    console.print(f"[red]✗[/] The demo does not start: {why}.\n  What to do: {cure}")
    return 1


def _explain(console: Console, why: str, cure: str, process: Process | None) -> int:
    tail = process.tail() if process else ""
    if "No space left on device" in tail or "database or disk is full" in tail:
        why, cure = f"{why}: the disk is full", "free some space, then run this again"
    console.print(f"\n[red]✗[/] {why}.")
    if tail:
        console.print("  Its log ends:")
        console.print("\n".join(f"    {line}" for line in tail.splitlines()), markup=False, style="dim")
    console.print(f"  What to do: {cure}\n  Everything else is stopped.")
    return 1


def _welcome(console: Console, web_port: int, shoppers: list[DemoShopper], seconds: float) -> None:
    installing = float(os.environ.get("AISLE_INSTALL_SECONDS", 0))
    downloading = float(os.environ.get("AISLE_DOWNLOAD_SECONDS", 0))
    names = ", ".join(shopper.name for shopper in shoppers[:4])
    console.print(f"\n[bold green]Aisle is running:[/] [bold]http://localhost:{web_port}[/]")
    console.print(f"  Sign in as     {names}: http://localhost:{web_port}{DemoShopper.PAGE}")
    console.print(f"  Logs           {os.path.relpath(demo.LOGS)}/")
    console.print('  A shell beside eval "$(.venv/bin/python -m deploy.local env)"')
    console.print("  Stop           Ctrl-C; the next start takes seconds. Forget everything: make clean")
    install = f"{installing:.0f} s of installing ({downloading:.0f} s of it download) and " if installing else ""
    console.print(f"  Ready after    {install}{seconds:.0f} s")
