"""Real parts: the Redis of the whole run, a Celery worker in a process of its own, ml.serve with a trained model."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from moto.server import ThreadedMotoServer
from pytest_django import DjangoDbBlocker
from redis import Redis

from ml.contract import ProductRow
from recommender import aws, counters, recommendations, store
from recommender.tests import fakes
from storefront.models import Product

ROOT = Path(__file__).parent.parent.parent


def product_rows() -> Iterator[ProductRow]:
    """A catalogue for settings.RECOMMENDER["CATALOGUE"]: p1 … p30 in three categories."""
    for number in range(1, 31):
        yield ProductRow(
            product_id=f"p{number}", name=f"Product {number}", department="FOOD", category=f"C{number % 3}",
            type="T", brand="National", size="1 L", price=1.5,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def catalogue(settings: Any) -> None:
    here = {"CATALOGUE": "recommender.tests.conftest.product_rows", "KNOWN": "builtins.set"}  # every id there is
    settings.RECOMMENDER = {**settings.RECOMMENDER, **here}


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of the test's own, and an empty Redis."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(autouse=True)
def _forgetful_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process keeps in memory must not pass from test to test."""
    monkeypatch.setattr(store, "_away_until", 0.0)
    recommendations._remembered.clear()
    counters._counts.clear()
    counters._states.clear()
    aws._breaker.close()
    aws._made_runtime.cache_clear()
    aws._made_s3.cache_clear()


@pytest.fixture
def redis_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and for the rest of the test this process finds nobody at Redis's address."""

    def go_away() -> None:
        nobody = Redis.from_url("redis://127.0.0.1:9/0", socket_connect_timeout=0.2)
        monkeypatch.setattr(store, "client", lambda: nobody)
        monkeypatch.setattr(store, "script", lambda source: nobody.register_script(source))

    return go_away


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[fakes.FakeEndpoint]:
    with fakes.running() as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", fake.url)
        yield fake


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 with one empty bucket, aisle."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    try:
        aws._s3().create_bucket(Bucket="aisle", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield url
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        server.stop()


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ml.serve with a small model that was really trained."""
    from ml.tests import samples

    base = tmp_path_factory.mktemp("ml")
    samples.train_small(base / "model")
    port = free_port()
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-m", "ml", "serve"], cwd=ROOT, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{url}/ping"), 60)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=15)


@pytest.fixture
def start_worker(
    redis: Redis, transactional_db: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start the refresh worker as a user would, on this test's database, asking this endpoint.

    It has the shop's own settings, so what the model and the fake endpoint name must be in the shop: hidden, for
    products on the shelf would be warmed.
    """
    ids = [f"{letter}{number:02}" for letter in "pr" for number in range(99)]
    Product.objects.bulk_create(Product(product_id=one, name=one, price_cents=100, hidden=True) for one in ids)
    started: list[subprocess.Popen[bytes]] = []

    def start(endpoint_url: str) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [
                sys.executable, "-m", "celery", "-A", "storefront", "worker",
                "-Q", "refresh", "-P", "threads", "-c", "4",
                "--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"test{len(started)}@%h",
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint_url,
            },
        )  # fmt: skip
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()


def waiting(redis: Redis) -> set[str]:
    """The keys that are pending."""
    return {str(key) for key in redis.zrange("{aisle}:pending", 0, -1)}


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    """Until it is; a test that waits in vain fails here."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def database_url() -> str:
    its = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{its['NAME']}"
    return (
        f"postgres://{its['USER']}:{its['PASSWORD']}@{its['HOST'] or 'localhost'}:{its['PORT'] or 5432}/{its['NAME']}"
    )
