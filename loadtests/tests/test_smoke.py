import socket
import subprocess
import sys


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "loadtests", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_another_machine_is_never_loaded_without_leave() -> None:
    refused = run("--host", "http://192.0.2.1:8000")
    assert refused.returncode == 2
    assert "--beyond-loopback" in refused.stderr


def test_without_a_shop_one_line_says_how_to_start_one() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers here, and nobody else can come to
        taken.bind(("127.0.0.1", 0))
        refused = run("--host", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert refused.returncode == 1
    assert "make demo" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
