"""The bench's parts start where they should, and nothing of them is left."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from loadtests.bench.part import BenchError
from loadtests.bench.stack import Stack, answers, free_port

BUSY = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(60)"


def test_the_server_under_test_has_a_core_and_everything_else_the_other() -> None:
    before = os.sched_getaffinity(0)
    with Stack() as stack:
        server = stack.start("server", "sleep", "60", under_test=True)
        other = stack.start("other", "sleep", "60")
        for part, core in ((server, min(before)), (other, max(before))):
            part.wait_until(lambda part=part: psutil.Process(part.pid).cmdline()[:1] == ["sleep"])  # type: ignore[misc]
            assert psutil.Process(part.pid).cpu_affinity() == [core]
        assert os.sched_getaffinity(0) == {max(before)}
        pids = [server.pid, other.pid]
    assert os.sched_getaffinity(0) == before
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not stack.folder.exists()


def test_the_cpu_time_of_a_part_holds_that_of_its_children() -> None:
    with Stack() as stack:
        part = stack.python("parent", "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])")
        part.wait_until(lambda: part.cpu_seconds() >= 0.3)


def test_parts_end_with_the_program_even_when_it_is_killed() -> None:
    program = (
        "from loadtests.bench.stack import Stack\n"
        "stack = Stack().__enter__()\n"
        "part = stack.start('part', 'sleep', '60')\n"
        "part.wait_until(lambda: 'sleep' in open(f'/proc/{part.pid}/cmdline').read()[:9])\n"
        "print(part.pid, stack.folder, flush=True)\n"
        "import time; time.sleep(60)"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    pid, folder = killed.stdout.readline().split()
    killed.kill()
    killed.communicate()
    try:
        for _ in range(100):
            if not psutil.pid_exists(int(pid)):
                break
            time.sleep(0.05)
        assert not psutil.pid_exists(int(pid))
    finally:
        subprocess.run(["rm", "-r", folder], check=True)


def test_a_part_that_ends_before_it_is_ready_says_why() -> None:
    with Stack() as stack:
        part = stack.python("broken", "-c", "raise SystemExit('no such thing')")
        with pytest.raises(BenchError, match="no such thing"):
            part.wait_until(lambda: False)


def test_redis_is_a_real_one_of_its_own() -> None:
    with Stack() as stack:
        port = stack.redis_port
        assert answers(port)
        assert stack.env["REDIS_URL"] == f"redis://127.0.0.1:{port}/0"
    assert not answers(port)


def test_a_free_port_is_free() -> None:
    assert not answers(free_port())
