"""Bad models under load: each is taken back by itself, and no shopper meets a panel that failed or is missing.

A whole shop on a small catalogue: granian, a Celery worker, Redis, the local cloud, all as processes of their own;
open-loop shoppers ask for the panel and report what they look at, whatever is being deployed. Slow (minutes), so it is
run by name: ``pytest -m proof``.
"""

import random
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from redis import Redis

from deploy.local import environment, redis
from deploy.local.environment import ROOT
from deploy.local.process import Process
from deploy.local.shopper import DemoShopper, NotYet
from deploy.local.stand_ins import create_bucket
from deploy.local.tests.conftest import eventually
from deploy.local.tests.test_whole import write_csv
from ml.tests import samples

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

# The local cloud with one more image, and little patience for containers that never get healthy.
CLOUD = """
import sys
from pathlib import Path
from deploy.local import cloud, server
from deploy.local.containers import IMAGES
server.STARTUP_SECONDS = 30.0
bad = (sys.executable, "-m", "deploy.local.tests.bad_model")
cloud.run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), {**IMAGES, "bad-model": bad})
"""
PER_SECOND = 8.0  # panels asked for; every one reports a look at a product as well
CANARY = ["--canary", "20", "--bake", "40", "--keep", "3"]
SHOPPER_FRESH_SECONDS = 6.6 * 3600  # recommender.cache: six hours and a tenth of jitter


@dataclass
class Shop:
    """One that runs, and what its shoppers met."""

    env: dict[str, str]
    address: str
    state: Path
    shoppers: list[DemoShopper] = field(default_factory=list)
    met: list[tuple[float, str, str]] = field(default_factory=list)  # when, the panel's source, its model
    trouble: list[str] = field(default_factory=list)

    def ml(self, *words: str, code: int = 0) -> str:
        """Run ``python -m ml``. What it said."""
        command = [sys.executable, "-m", "ml", *words]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def client(self, service: Any) -> Any:
        return boto3.Session(
            aws_access_key_id="local", aws_secret_access_key="local", region_name=environment.REGION
        ).client(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def register(self, behaviour: str) -> str:
        """The serving model's artefact in an image that went wrong."""
        sagemaker = self.client("sagemaker")
        (good, *_) = sagemaker.list_model_packages(ModelPackageGroupName="aisle")["ModelPackageSummaryList"]
        found = sagemaker.describe_model_package(ModelPackageName=good["ModelPackageArn"])
        url = found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        container = {"Image": "bad-model:1", "ModelDataUrl": url, "Environment": {"BEHAVIOUR": behaviour}}
        arn: str = sagemaker.create_model_package(
            ModelPackageGroupName="bad",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )["ModelPackageArn"]
        return arn

    @contextmanager
    def open(self) -> Iterator[None]:
        """Shoppers arrive at their own pace until the block ends, however long they wait."""
        ended = threading.Event()

        def arrive() -> None:
            due = time.monotonic()
            with ThreadPoolExecutor(max_workers=32) as crowd:
                while not ended.is_set():
                    crowd.submit(self.visit, random.choice(self.shoppers))
                    due += random.expovariate(PER_SECOND)
                    ended.wait(max(0.0, due - time.monotonic()))

        arrivals = threading.Thread(target=arrive)
        arrivals.start()
        try:
            yield
        finally:
            ended.set()
            arrivals.join()

    def visit(self, shopper: DemoShopper) -> None:
        """Ask for the panel, look at one of its products."""
        try:
            panel = shopper.panel()
            if panel["source"] == "none" or not panel["products"]:
                self.trouble.append(f"no panel: {panel}")
                return
            self.met.append((time.monotonic(), panel["source"], panel["model_version"]))
            shopper.look_at(random.choice(panel["products"])["product_id"])
        except NotYet as failed:
            self.trouble.append(str(failed))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    state = tmp_path_factory.mktemp("shop")
    ports = {name: environment.free_port() for name in ("redis", "cloud", "runtime", "web")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment, "STATE", state)
        own = environment.build({}, ports, ports["web"])
        own |= {"AISLE_STATE": str(state), "COLUMNS": "400"}
    env = environment.child(own, {"PATH": "/usr/bin:/bin"})
    write_csv(state / "products.csv", [dict(row) for row in samples.product_rows()])
    write_csv(state / "events.csv", [row | {"time": row["time"].isoformat()} for row in samples.event_rows()])
    started: list[Process] = []

    def serve(name: str, *command: str) -> Process:
        process = Process(name, command, env=env, log=state / f"{name}.log", cwd=ROOT)
        process.start()
        started.append(process)
        return process

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], env=env, cwd=ROOT, check=True, capture_output=True, timeout=120)

    try:
        serve("redis", *redis.command(ports["redis"]))
        words = [str(ports["cloud"]), str(ports["runtime"]), str(state / "cloud")]
        cloud = serve("cloud", sys.executable, "-c", CLOUD, *words)
        run("manage.py", "migrate", "-v", "0")
        run("manage.py", "load_shop", "--products", f"{state}/products.csv", "--events", f"{state}/events.csv")
        run("manage.py", "collectstatic", "--no-input", "-v", "0")
        eventually(lambda: "ready:" in cloud.tail(), 60)
        create_bucket(own)
        run("manage.py", "export_events")
        made = Shop(env, own["AISLE_URL"], state)
        made.ml("pipeline", "--export", own["EXPORT_URL"])
        made.client("sagemaker").create_model_package_group(ModelPackageGroupName="bad")
        celery = ["-m", "celery", "-A", "storefront", "worker", "--without-gossip", "--without-mingle", "-l", "INFO"]
        serve("worker", sys.executable, *celery, "-Q", "refresh", "-P", "threads", "-c", "4")
        serve("web", sys.executable, "-m", "storefront", "--port", str(ports["web"]))
        made.shoppers = eventually(lambda: _listed(own["AISLE_URL"]), 60)[:12]
        for shopper in made.shoppers:
            eventually(partial(_personal, shopper), 60)
        yield made
    finally:
        for process in reversed(started):
            process.stop()


def _listed(address: str) -> list[DemoShopper]:
    try:
        return DemoShopper.all(address)
    except NotYet:
        return []


def _personal(shopper: DemoShopper) -> str:
    try:
        return shopper.personal_model_version()
    except NotYet:
        return ""


REASONS = {
    "slow": "-latency is in ALARM",
    "erring": "-errors is in ALARM",
    "nonsense": "-quality is in ALARM",
    "strangers": "-quality is in ALARM",
    "never-healthy": "did not pass the ping health check",
}


def taken_back(shop: Shop, behaviour: str, reason: str) -> None:
    """Deploy a bad model while shoppers come and go, and see it taken back, and why."""
    serving = shop.client("sagemaker").describe_endpoint(EndpointName="aisle")["EndpointConfigName"]
    shop.met.clear()
    shop.trouble.clear()
    began = time.monotonic()
    with shop.open():
        said = shop.ml("deploy", shop.register(behaviour), *CANARY, code=2)
        seconds = time.monotonic() - began
        time.sleep(5)
    status = shop.ml("status")

    sources = Counter(source for _, source, _ in shop.met)
    print(f"\n{behaviour}: {seconds:.0f} s, {len(shop.met)} panels, {dict(sources)}, {len(shop.trouble)} missing")
    assert reason in said
    assert f"rolled back to {serving}" in said
    assert reason in status  # which says why the last deployment ended
    assert len(shop.met) > 5 * PER_SECOND  # there were shoppers all the while


@pytest.mark.parametrize("behaviour", REASONS)
def test_bad_model_is_taken_back_and_every_shopper_has_a_panel(shop: Shop, behaviour: str) -> None:
    taken_back(shop, behaviour, REASONS[behaviour])
    assert shop.trouble == []


def test_good_model_s_slates_replace_the_old_ones(shop: Shop) -> None:
    """An active shopper's with their next look, everybody's before they count as fresh no more."""
    before = shop.shoppers[0].personal_model_version()
    shop.met.clear()
    shop.trouble.clear()
    with shop.open():
        shop.ml("pipeline", "--export", shop.env["EXPORT_URL"], *CANARY)
        moved = time.monotonic()
        time.sleep(30)
    late = Counter(model for at, source, model in shop.met if at > moved + 20 and source == "fresh")

    print(f"\ngood: after 20 s fresh slates are of {late}, before of {before}")
    assert shop.trouble == []
    assert late
    assert before not in late
    assert longest_fresh(shop) <= SHOPPER_FRESH_SECONDS


def longest_fresh(shop: Shop) -> float:
    """Seconds that the longest of the shoppers' slates in Redis may still count as fresh."""
    with Redis.from_url(shop.env["REDIS_URL"]) as store:
        slates = [bytes(store.get(key) or b"") for key in store.scan_iter("*slate:shopper:*")]
    until = [struct.unpack_from("<q", slate)[0] for slate in slates]  # milliseconds, the head of recommender.cache
    assert until
    return float(max(until)) / 1_000 - time.time()


def test_rollback_is_one_command(shop: Shop) -> None:
    sagemaker = shop.client("sagemaker")
    serving = sagemaker.describe_endpoint(EndpointName="aisle")["EndpointConfigName"]
    shop.trouble.clear()
    with shop.open():
        shop.ml("rollback")
    assert sagemaker.describe_endpoint(EndpointName="aisle")["EndpointConfigName"] != serving
    assert shop.trouble == []
