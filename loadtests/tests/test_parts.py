"""What the fault tests start does not outlive them."""

import subprocess
import sys
import time

import psutil

PROGRAM = """
import os, sys, time
from pathlib import Path
from loadtests.stack import Part
part = Part("sleeper", ["sleep", "60"], os.environ, Path(sys.argv[1]) / "log")
part.start()
part.wait_until(lambda: "sleep" in Path(f"/proc/{part._child.pid}/cmdline").read_text().split("\\0")[0])
print(part._child.pid, flush=True)
if sys.argv[2] == "kill":
    part.kill()
    part.start()
    print(part._child.pid, flush=True)
if sys.argv[2] == "stop":
    part.stop()
else:
    time.sleep(60)
"""


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def program(folder: object, what: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), what], stdout=subprocess.PIPE, text=True)


def test_a_part_ends_when_it_is_stopped(tmp_path: object) -> None:
    with program(tmp_path, "stop") as running:
        assert running.stdout
        assert gone(int(running.stdout.readline()))


def test_a_killed_part_is_another_process_when_it_is_started_again(tmp_path: object) -> None:
    with program(tmp_path, "kill") as running:
        assert running.stdout
        first, second = int(running.stdout.readline()), int(running.stdout.readline())
        assert first != second
        assert gone(first)
        assert psutil.pid_exists(second)
        running.kill()
    assert gone(second)


def test_parts_end_with_the_program_even_when_it_is_killed(tmp_path: object) -> None:
    with program(tmp_path, "sleep") as running:
        assert running.stdout
        part = int(running.stdout.readline())
        running.kill()
    assert gone(part)
