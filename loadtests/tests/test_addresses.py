"""Nothing but this machine is loaded unless somebody says its name."""

import socket
import subprocess
import sys

import pytest

from loadtests import addresses


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "loadtests", "run", "smoke", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_another_machine_is_never_loaded_without_its_name() -> None:
    refused = run("--host", "http://192.0.2.1:8000")
    assert refused.returncode == 2
    assert "--allow-remote 192.0.2.1" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"])
def test_this_machine_is_always_allowed(address: str) -> None:
    addresses.check(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("http://shop.example", ""),
        ("http://shop.example", "other.example"),
        ("http://127.0.0.1.shop.example", ""),
        ("http://127.0.0.1@shop.example", ""),
        ("shop.example", "shop.example"),  # no address at all
    ],
)
def test_others_are_refused(address: str, allowed: str) -> None:
    with pytest.raises(addresses.NotAllowed):
        addresses.check(address, allowed)


def test_the_host_that_was_named_is_allowed() -> None:
    addresses.check("https://shop.example:8443/", "shop.example")


def test_plain_locust_refuses_too() -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "locust", "-f", "loadtests/journeys.py", "--headless", "--host", "http://192.0.2.1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "--allow-remote 192.0.2.1" in refused.stderr


def test_without_a_shop_one_line_says_how_to_start_one() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers here, and nobody else can come to
        taken.bind(("127.0.0.1", 0))
        refused = run("--host", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert refused.returncode == 2
    assert "make demo" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
