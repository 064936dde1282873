"""The local cloud as a process: how it starts, what it says, and that nothing outlives it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import cloud
from deploy.local.tests.conftest import PORTS, Aws, eventually

# What `python -m deploy.local cloud` does, with the small container of these tests.
PROGRAM = """
import sys
from pathlib import Path
from deploy.local import cloud
from deploy.local import cloud
from deploy.local.tests.conftest import TINY
cloud.run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), TINY)
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start it on a state and wait until it is ready; whatever still runs is killed in the end."""
    begun: list[subprocess.Popen[str]] = []

    def begin() -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", PROGRAM, *map(str, PORTS), str(tmp_path / "state")]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stderr is not None
        while "ready" not in (line := process.stderr.readline()):
            assert "a stand-in for AWS" in line, "every line says what it is, and it does not end before it is ready"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def handlers() -> Iterator[None]:
    """For a run() in this process: its signal handlers do not stay."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def serving(aws: Aws) -> int:
    """Serve a model; the process id of its container."""
    aws.serve()
    return int(aws.invoke()["pid"])


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_its_containers_end_with_it_and_come_back_with_it(start: Start, clients: Aws) -> None:
    process = start()
    first = serving(clients)
    said = clients.s3.list_buckets()["ResponseMetadata"]["HTTPHeaders"]
    assert said["x-local-cloud"] == "stand-in"
    assert "stand-in for AWS" in said["server"]

    process.terminate()
    assert process.wait(20) == 0
    assert gone(first)

    process = start()
    assert clients.endpoint()["EndpointStatus"] == "InService"
    second = int(clients.invoke()["pid"])
    process.kill()
    process.wait()
    eventually(lambda: gone(second))


@pytest.mark.usefixtures("handlers")
def test_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", PORTS[1])), pytest.raises(SystemExit) as caught:
        cloud.run(*PORTS, tmp_path / "state")

    assert caught.value.code == (
        f"local cloud: port {PORTS[1]} cannot be had (Address already in use): "
        "stop what listens there, or choose another"
    )


@pytest.mark.usefixtures("handlers")
def test_corrupt_state_is_one_clear_line(tmp_path: Path) -> None:
    kept = tmp_path / "state/sagemaker.json"
    kept.parent.mkdir()
    kept.write_text("{")
    with pytest.raises(SystemExit) as caught:
        cloud.run(*PORTS, tmp_path / "state")

    said = str(caught.value.code)
    assert said.startswith(f"local cloud: {kept} is corrupt")
    assert said.endswith("`make clean` resets the local cloud")
    assert "\n" not in said
