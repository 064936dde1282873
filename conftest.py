"""What the tests of every room share: a real Redis, a real browser, and settings that need no environment."""

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import django
import hypothesis
import pytest

if TYPE_CHECKING:
    from execnet.xspec import XSpec
    from playwright.sync_api import Browser


def _own_redis() -> str:
    """The address of a Redis still to be started: below the ports that the kernel gives to whoever asks meanwhile."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"redis://127.0.0.1:{port}/0"
    raise pytest.UsageError("no port between 20000 and 30000 is free for the tests' Redis")


# Settings are read when Django starts, before any fixture: so the test run's addresses are fixed here.
if "REDIS_URL" not in os.environ:
    os.environ.update(REDIS_URL=_own_redis(), OWN_REDIS="1")
os.environ.update(
    DJANGO_SETTINGS_MODULE="storefront.settings",  # here, for pytest-django would read it before this file is
    SECRET_KEY="only-for-tests",
    DEMO="1",
    ALLOWED_HOSTS="localhost,127.0.0.1,testserver",
    AWS_ACCESS_KEY_ID="local",
    AWS_SECRET_ACCESS_KEY="local",
    AWS_DEFAULT_REGION="eu-west-1",
    # A test that forgets to name its endpoint must reach nothing, least of all AWS.
    AWS_ENDPOINT_URL="http://127.0.0.1:9",
    AWS_EC2_METADATA_DISABLED="true",
)

# No test is timed, for machines are noisy: neither an example nor the making of one.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

django.setup()  # before the rooms' own conftest files, which import models


def pytest_xdist_auto_num_workers() -> int | None:
    """One process where REDIS_URL names the Redis: tests in parallel would empty it for each other."""
    return None if "OWN_REDIS" in os.environ else 0


def pytest_xdist_setupnodes(specs: list["XSpec"]) -> None:
    """Each process of a parallel run has a Redis of its own."""
    for spec in specs:
        spec.env["REDIS_URL"] = _own_redis()


@pytest.fixture(scope="session")
def redis_command() -> Callable[[int], list[str]]:
    """The command line of the demo's Redis on a port."""
    from deploy.local import redis

    return redis.command


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis: the REDIS_URL given, else the embedded server on a free port."""
    url = os.environ["REDIS_URL"]
    if "OWN_REDIS" not in os.environ:
        yield url
        return
    from deploy.local import redis

    port = int(urlsplit(url).port or 0)
    server = subprocess.Popen(redis.command(port), stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A file's Chromium, and no longer: Playwright keeps an event loop in this thread, where other files run theirs."""
    from playwright.sync_api import expect

    from deploy.local.browser import NoBrowser, chromium

    expect.set_options(timeout=30_000)  # what is proved is that it happens, on however busy a machine
    with pytest.MonkeyPatch.context() as patch:
        # Because of that loop Django refuses queries; those here are the tests' own, between the browser's steps.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        try:
            with chromium() as started:
                yield started
        except NoBrowser as missing:
            pytest.skip(str(missing))
