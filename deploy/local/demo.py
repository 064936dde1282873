"""``make demo``: the whole of Aisle on one machine, from nothing to personal recommendations in a browser.

Reads top to bottom: ``launch`` names the stages in order. What a stage makes is kept in ``.local`` and marked there
when it is whole, so that an interrupted run is taken up where it stopped and later runs skip what is done.
"""

import os
import shutil
import sys
import urllib.parse
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from deploy.local import bootstrap, environment, redis
from deploy.local.deadline import Failure, within
from deploy.local.environment import ROOT, STATE
from deploy.local.marks import digest, is_done, mark_done
from deploy.local.process import Process
from deploy.local.shopper import DemoShopper, NotYet
from deploy.local.stages import Stage, Stages
from deploy.local.stand_ins import Endpoint, create_bucket
from deploy.local.supervisor import Ended, Supervisor

LOGS = STATE / "logs"
DATA = STATE / "data"
READY_SECONDS = 90.0
REDIS_SECONDS = 10.0
CLOUD_SECONDS = 60.0
ENDPOINT_SECONDS = 120.0


class Demo:
    """What the stages share."""

    def __init__(
        self,
        supervisor: Supervisor,
        stages: Stages,
        own: dict[str, str],
        ports: dict[str, int],
        web_port: int,
        data: Path | None = None,
    ) -> None:
        self.supervisor = supervisor
        self.stages = stages
        self.own = own
        self.ports = ports
        self.web_port = web_port
        self.data = data or DATA  # where products.csv and events.csv are, or are put
        self._env = environment.child(own, os.environ)

    @property
    def database(self) -> str:
        """Its URL."""
        return self.own["DATABASE_URL"]

    def process(self, name: str, *command: str) -> Process:
        return Process(name, command, env=self._env, log=LOGS / f"{name.replace(' ', '-')}.log", cwd=ROOT)

    def python(self, name: str, *arguments: str) -> Process:
        return self.process(name, sys.executable, *arguments)

    def run(self, stage: Stage, process: Process) -> None:
        """Run a command, its last line as the stage's detail."""
        self.supervisor.run(process, watch=lambda process: stage.tell(process.tail(1).strip()))
        stage.tell(process.tail(1).strip())


def launch(demo: Demo, pool: ThreadPoolExecutor) -> list[DemoShopper]:
    """Every stage, side by side where they do not need each other. Returns shoppers to sign in as."""
    redis_up = pool.submit(start_redis, demo)
    cloud_up = pool.submit(start_cloud, demo)
    tables = pool.submit(make_tables, demo)
    files = pool.submit(convert, demo)
    static = pool.submit(collect_static, demo)
    gather(redis_up, tables, files)
    gather(pool.submit(load_catalogue, demo))
    gather(pool.submit(start_web, demo, static), pool.submit(bring_up_model, demo, cloud_up))
    shoppers = wait_for_personal_home_page(demo)
    start_nightly_worker_and_beat(demo)
    return shoppers


def bring_up_model(demo: Demo, cloud_up: "Future[None]") -> None:
    """A model that answers, learnt anew or kept, and the worker that asks it."""
    gather(cloud_up)
    if is_done("model", demo.database) and Endpoint(demo.own).status() not in ("", "Failed"):
        start_refresh_worker(demo)
        resume_endpoint(demo)
    else:
        export(demo)
        train(demo)
        start_refresh_worker(demo)  # not before: calls to an endpoint that is not there would open the circuit breaker


def gather(*futures: "Future[None]") -> None:
    """Wait for all; the first that fails ends the waiting."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()


def start_redis(demo: Demo) -> None:
    with demo.stages.stage("Redis") as stage:
        url = demo.own["REDIS_URL"]
        stage.tell(f"embedded, on port {demo.ports['redis']}")
        server = None
        if os.environ.get("REDIS_URL"):
            stage.tell(f"yours: {urllib.parse.urlsplit(url).hostname}")
        else:
            try:
                command = redis.command(demo.ports["redis"])
            except redis.NoRedis:
                raise Failure("this machine has no Redis, and none comes as a wheel for it", redis.CURE) from None
            server = demo.process("redis", *command)
            demo.supervisor.serve(server, base=True)
        client = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
        with within(
            REDIS_SECONDS, f"no Redis answers at {url}", "check REDIS_URL, or unset it for the embedded one"
        ) as late:
            demo.supervisor.wait_until(lambda: late() or _answers(client), server)


def _answers(client: "Redis") -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def start_cloud(demo: Demo) -> None:
    with demo.stages.stage("Local cloud") as stage:
        stage.tell("a stand-in for AWS: S3, SageMaker, CloudWatch…")
        cloud = demo.python(
            "local cloud", "-m", "deploy.local", "cloud", "--port", str(demo.ports["cloud"]),
            "--runtime-port", str(demo.ports["runtime"]), "--state", str(STATE / "cloud"),
        )  # fmt: skip
        demo.supervisor.serve(cloud, base=True)
        with within(CLOUD_SECONDS, "the local cloud does not get ready", f"read {cloud.log}") as late:
            demo.supervisor.wait_until(lambda: late() or "ready:" in cloud.tail(), cloud)
        create_bucket(demo.own)


def make_tables(demo: Demo) -> None:
    with demo.stages.stage("Database") as stage:
        stage.tell(_readable(demo.database))
        migrations = digest(ROOT.glob("*/migrations/*.py"), bootstrap.STAMP)
        if demo.database.startswith("sqlite:") and is_done("tables", demo.database, migrations):
            stage.keep()
            return
        demo.supervisor.run(demo.python("migrate", "manage.py", "migrate", "--no-input", "-v", "1"))
        mark_done("tables", demo.database, migrations)


def collect_static(demo: Demo) -> None:
    with demo.stages.stage("Static files") as stage:
        files = digest(ROOT.glob("storefront/static/**/*"), bootstrap.STAMP, ROOT / "storefront/settings.py")
        mark = ROOT / "staticfiles" / ".collected"  # there, because they are the checkout's, whatever its state
        if mark.exists() and mark.read_text() == files:
            stage.keep()
            return
        demo.run(stage, demo.python("static files", "manage.py", "collectstatic", "--no-input"))
        mark.write_text(files)


def convert(demo: Demo) -> None:
    if demo.data != DATA or is_done("catalogue", demo.database):
        return
    with demo.stages.stage("Shop data") as stage:
        demo.run(stage, demo.python("shop data", "-m", "deploy.local", "convert", "--to", str(DATA)))


def load_catalogue(demo: Demo) -> None:
    if is_done("catalogue", demo.database):
        with demo.stages.stage("Catalogue") as stage:
            stage.keep()
        return
    with demo.stages.stage("Catalogue") as stage:
        files = ["--products", str(demo.data / "products.csv"), "--events", str(demo.data / "events.csv")]
        command = demo.python("catalogue", "manage.py", "load_shop", *files)
        try:
            demo.run(stage, command)
        except Ended:
            if "were loaded before" not in command.tail():  # by a run that was killed before it could mark it
                raise
            stage.tell("loaded before")
        mark_done("catalogue", demo.database)
        shutil.rmtree(DATA, ignore_errors=True)  # a hundred megabytes that nobody reads again


def export(demo: Demo) -> None:
    if is_done("export", demo.database):
        return
    with demo.stages.stage("Export to S3") as stage:
        demo.run(stage, demo.python("export", "manage.py", "export_events"))
        mark_done("export", demo.database)


def train(demo: Demo) -> None:
    """Training job, gate, registry and deployment, all through boto3."""
    with demo.stages.stage("Training, deployment") as stage:
        demo.run(stage, demo.python("pipeline", "-m", "ml", "pipeline", "--export", demo.own["EXPORT_URL"]))
        mark_done("model", demo.database)


def resume_endpoint(demo: Demo) -> None:
    """The local cloud brings up what it kept by itself."""
    with demo.stages.stage("Endpoint") as stage:
        endpoint = Endpoint(demo.own)
        cure = "read .local/cloud/logs, or start afresh: make clean demo"
        with within(ENDPOINT_SECONDS, "the kept endpoint does not come into service", cure) as late:
            demo.supervisor.wait_until(lambda: late() or endpoint.status() == "InService", every=0.2)
        stage.keep()


def start_web(demo: Demo, static: "Future[None]") -> None:
    gather(static)
    with demo.stages.stage("Web server") as stage:
        stage.tell(f"granian, on port {demo.web_port}")
        web = demo.python(
            "web", "-m", "storefront", "--host", "127.0.0.1", "--port", str(demo.web_port),
            "--workers", str(max(1, (os.cpu_count() or 1) // 2)), "--respawn-failed-workers",
            "--workers-kill-timeout", "5",
        )  # fmt: skip
        demo.supervisor.serve(web)


def start_refresh_worker(demo: Demo) -> None:
    with demo.stages.stage("Refresh worker") as stage:
        stage.tell("Celery, 4 threads")
        demo.supervisor.serve(worker(demo, "refresh", "-P", "threads", "-c", "4"))


def start_nightly_worker_and_beat(demo: Demo) -> None:
    """Last, since nobody waits for them."""
    with demo.stages.stage("Nightly worker, beat") as stage:
        stage.tell("Celery, 1 process, and its clock")
        demo.supervisor.serve(worker(demo, "nightly", "-P", "prefork", "-c", "1"))
        # Beat without memory: a demo that slept through the night must not begin with the night's export.
        memory = STATE / "beat"
        shutil.rmtree(memory, ignore_errors=True)
        memory.mkdir()
        schedule = ["-s", str(memory / "schedule"), "--pidfile="]
        demo.supervisor.serve(demo.python("beat", "-m", "celery", "-A", "storefront", "beat", *schedule))


def worker(demo: Demo, queue: str, *pool: str) -> Process:
    alone = ["--without-gossip", "--without-mingle"]  # there is nobody to gossip with
    celery = ["-m", "celery", "-A", "storefront", "worker", "-Q", queue, "-n", f"{queue}@%h", *pool, *alone]
    return demo.python(f"{queue} worker", *celery, "--loglevel", "INFO")


def wait_for_personal_home_page(demo: Demo) -> list[DemoShopper]:
    """Sign in as demo shoppers do and ask until the panel is theirs: Celery → boto3 → endpoint → Redis → page."""
    with demo.stages.stage("Personal home page") as stage:
        address = demo.own["AISLE_URL"]
        shoppers: list[DemoShopper] = []

        def personal() -> bool:
            try:
                if not shoppers:
                    shoppers.extend(DemoShopper.all(address))
                stage.tell(f"{shoppers[0].name} sees model {shoppers[0].personal_model_version()}")
            except NotYet as reason:
                stage.tell(str(reason))
                return False
            return True

        cure = f"read {LOGS}/refresh-worker.log and web.log there"
        with within(READY_SECONDS, lambda: f"the home page is not personal: {stage.detail}", cure) as late:
            demo.supervisor.wait_until(lambda: late() or personal(), every=0.2)
        return shoppers


def _readable(database_url: str) -> str:
    """Without its password."""
    parts = urllib.parse.urlsplit(database_url)
    return (
        parts.path.removeprefix(f"/{ROOT}/").removeprefix(f"{ROOT}/")
        if parts.scheme == "sqlite"
        else f"{parts.hostname}{parts.path}"
    )
