import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.process import Process


def process(script: str, tmp_path: Path) -> Process:
    return Process("child", [sys.executable, "-c", script], env=os.environ, log=tmp_path / "child.log")


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    """Zombies do not count: a container's init may never reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_output_and_errors_go_to_the_log(tmp_path: Path) -> None:
    child = process("import sys; print('out', flush=True); print('err', file=sys.stderr)", tmp_path)
    child.start()
    assert child.wait(10) == 0
    assert child.tail().splitlines() == ["out", "err"]


def test_tail_is_the_end_of_a_long_log(tmp_path: Path) -> None:
    child = process("for i in range(10_000): print('line', i)", tmp_path)
    child.start()
    child.wait(10)
    assert child.tail(2) == "line 9998\nline 9999"


def test_the_exit_code_is_told(tmp_path: Path) -> None:
    child = process("raise SystemExit(7)", tmp_path)
    child.start()
    assert eventually(lambda: child.poll() == 7)


def test_a_missing_program_is_named_at_once(tmp_path: Path) -> None:
    child = Process("search", ["no-such-program"], env=os.environ, log=tmp_path / "log")
    with pytest.raises(FileNotFoundError, match="search: there is no program no-such-program"):
        child.start()


def test_asking_a_process_that_never_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="child was never started"):
        process("", tmp_path).poll()


def test_stopping_lets_the_child_finish_its_work(tmp_path: Path) -> None:
    child = process(
        "import signal, time\n"
        "def end(*_): print('bye', flush=True); raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)",
        tmp_path,
    )
    child.start()
    assert eventually(lambda: "up" in child.tail())
    child.stop()
    assert child.poll() == 0
    assert "bye" in child.tail()


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = process(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
        tmp_path,
    )
    child.start()
    assert eventually(lambda: "up" in child.tail())
    child.stop(grace=0.2)
    assert child.poll() == -signal.SIGKILL


FAMILY = (
    "import subprocess, sys, time\n"
    "kid = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(kid.pid, flush=True)\n"
)


@pytest.mark.parametrize("ending", ["time.sleep(60)", "raise SystemExit(3)"])
def test_grandchildren_end_with_the_child(tmp_path: Path, ending: str) -> None:
    child = process(FAMILY + ending, tmp_path)
    child.start()
    assert eventually(lambda: child.tail() != "")
    grandchild = int(child.tail())
    child.stop()
    assert eventually(lambda: not alive(grandchild))


def test_stopping_twice_or_before_the_start_does_nothing(tmp_path: Path) -> None:
    child = process("pass", tmp_path)
    child.stop()
    child.start()
    child.stop()
    child.stop()


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = process("import time; time.sleep(60)", tmp_path)
    starter = threading.Thread(target=child.start)
    starter.start()
    starter.join()
    time.sleep(0.3)
    assert child.poll() is None
    child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_nothing_survives_the_supervisor_being_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time; from pathlib import Path; from deploy.local.process import Process\n"
            "child = Process('child', [sys.executable, '-c', 'import time; time.sleep(60)'],"
            " env=os.environ, log=Path(sys.argv[1]))\n"
            "child.start(); print(child.pid, flush=True); time.sleep(60)",
            str(tmp_path / "log"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    with contextlib.closing(supervisor.stdout) as output:
        child = int(output.readline())
        assert alive(child)
        supervisor.kill()
        supervisor.wait(10)
    assert eventually(lambda: not alive(child))
