"""``make demo``: the whole of Aisle on one machine, from nothing to personal recommendations in a browser.

Reads top to bottom: ``launch`` names the stages in order. What a stage makes is kept in ``.local`` and marked there
when it is whole, so that an interrupted run is taken up where it stopped and later runs skip what is done.
"""

import hashlib
import os
import shutil
import signal
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console

from deploy.local import bootstrap, environment, redis
from deploy.local.environment import ROOT, STATE, WEB_PORT
from deploy.local.lock import Held, Lock
from deploy.local.process import Process
from deploy.local.shopper import DemoShopper, NotYet
from deploy.local.stages import Stage, Stages
from deploy.local.stand_ins import Endpoint, create_bucket
from deploy.local.supervisor import Ended, Supervisor

LOGS = STATE / "logs"
DATA = STATE / "data"
DONE = STATE / "done"
FREE_BYTES = 1_500_000_000  # what .venv's growth, the database, the objects and the model take on a first run
READY_SECONDS = 90.0
REDIS_SECONDS = 10.0
CLOUD_SECONDS = 60.0
ENDPOINT_SECONDS = 120.0


class Failure(Exception):
    """The demo cannot go on: one line why, one line what to do."""

    def __init__(self, why: str, cure: str, log: Process | None = None) -> None:
        super().__init__(why)
        self.cure = cure
        self.log = log


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
    if is_done("model", demo) and Endpoint(demo.own).status() not in ("", "Failed"):
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
        stage.tell(_readable(demo.own["DATABASE_URL"]))
        migrations = _digest(ROOT.glob("*/migrations/*.py"), bootstrap.STAMP)
        if demo.own["DATABASE_URL"].startswith("sqlite:") and is_done("tables", demo, migrations):
            stage.keep()
            return
        demo.supervisor.run(demo.python("migrate", "manage.py", "migrate", "--no-input", "-v", "1"))
        mark_done("tables", demo, migrations)


def collect_static(demo: Demo) -> None:
    with demo.stages.stage("Static files") as stage:
        files = _digest(ROOT.glob("storefront/static/**/*"), bootstrap.STAMP, ROOT / "storefront/settings.py")
        mark = ROOT / "staticfiles" / ".collected"  # there, because they are the checkout's, whatever its state
        if mark.exists() and mark.read_text() == files:
            stage.keep()
            return
        demo.run(stage, demo.python("static files", "manage.py", "collectstatic", "--no-input"))
        mark.write_text(files)


def convert(demo: Demo) -> None:
    if demo.data != DATA or is_done("catalogue", demo):
        return
    with demo.stages.stage("Shop data") as stage:
        demo.run(stage, demo.python("shop data", "-m", "deploy.local", "convert", "--to", str(DATA)))


def load_catalogue(demo: Demo) -> None:
    if is_done("catalogue", demo):
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
        mark_done("catalogue", demo)
        shutil.rmtree(DATA, ignore_errors=True)  # a hundred megabytes that nobody reads again


def export(demo: Demo) -> None:
    if is_done("export", demo):
        return
    with demo.stages.stage("Export to S3") as stage:
        demo.run(stage, demo.python("export", "manage.py", "export_events"))
        mark_done("export", demo)


def train(demo: Demo) -> None:
    """Training job, gate, registry and deployment, all through boto3."""
    with demo.stages.stage("Training, deployment") as stage:
        demo.run(stage, demo.python("pipeline", "-m", "ml", "pipeline", "--export", demo.own["EXPORT_URL"]))
        mark_done("model", demo)


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
            "web", "serve.py", "--host", "127.0.0.1", "--port", str(demo.web_port),
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


@contextmanager
def within(seconds: float, why: "str | Callable[[], str]", cure: str) -> Iterator[Callable[[], bool]]:
    """A deadline to ask. Raises Failure after the block if the deadline is what ended it."""
    deadline = time.monotonic() + seconds
    passed = False

    def late() -> bool:
        nonlocal passed
        passed = time.monotonic() > deadline
        return passed

    yield late
    if passed:
        raise Failure(f"{why if isinstance(why, str) else why()} (waited {seconds:.0f} s)", cure)


def is_done(name: str, demo: Demo, what: str = "") -> bool:
    """Whether an earlier run finished this, with this database and from the same ``what``."""
    database = demo.own["DATABASE_URL"]
    mark = DONE / name
    there = not database.startswith("sqlite:///") or Path(database.removeprefix("sqlite:///")).exists()
    return there and mark.exists() and mark.read_text() == f"{database} {what}"


def mark_done(name: str, demo: Demo, what: str = "") -> None:
    DONE.mkdir(exist_ok=True)
    (DONE / name).write_text(f"{demo.own['DATABASE_URL']} {what}")


def _digest(files: Iterable[Path], *more: str | Path) -> str:
    """Of names, sizes and times: enough to see that something changed."""
    seen = ((str(path), path.stat()) for path in sorted((*files, *map(Path, more))) if path.is_file())
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in seen]).encode()).hexdigest()


def _readable(database_url: str) -> str:
    """Without its password."""
    parts = urllib.parse.urlsplit(database_url)
    return (
        parts.path.removeprefix(f"/{ROOT}/").removeprefix(f"{ROOT}/")
        if parts.scheme == "sqlite"
        else f"{parts.hostname}{parts.path}"
    )


# --- From the command line ---------------------------------------------------------------------------------


def run(data: Path | None = None) -> int:
    """Open with the CSV files in ``data``, or with The Complete Journey.

    The exit code: 0 when stopped by a person after it was ready, 130 before, 1 when something failed.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Lock(STATE / "demo.lock") as lock:
            lock.sign(os.getpid())
            return _run(console, data and data.resolve())
    except Held as held:
        return _refuse(
            console, f"a demo of this checkout runs already, as process {held.pid}", "stop that one first (Ctrl-C)"
        )


def _run(console: Console, data: Path | None) -> int:
    started = time.monotonic()
    try:
        web_port = check_machine()
    except Failure as failure:
        return _refuse(console, str(failure), failure.cure)
    ports = environment.ports()
    own = environment.build(os.environ, ports, web_port)
    environment.write(own)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    ready, on_terminal = False, sys.stdout.isatty()
    try:
        # Left in the opposite order: the processes end first, which frees the threads that wait for them.
        with ThreadPoolExecutor() as pool, _Shielded() as supervisor:
            with Stages(console) as stages:
                shoppers = launch(Demo(supervisor, stages, own, ports, web_port, data), pool)
            ready = True
            _welcome(console, web_port, shoppers, time.monotonic() - started)
            supervisor.wait_until(lambda: on_terminal and not sys.stdout.isatty(), every=0.3)
            # A connection that broke: its hang-up signal reached `make`, which only waits for this process.
    except KeyboardInterrupt:
        console.print("\nStopped." if ready else "\nInterrupted; the next run goes on from here.")
        return 0 if ready else 130
    except Ended as ended:
        return _explain(console, str(ended), f"read {ended.process.log}; afresh: make clean demo", ended.process)
    except Failure as failure:
        return _explain(console, str(failure), failure.cure, failure.log)
    return 0


class _Shielded(Supervisor):
    """Ctrl-C again, while everything is being stopped, changes nothing: the stop is bounded by itself."""

    def stop(self, grace: float = 10.0) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        super().stop(grace)


def check_machine() -> int:
    """The port for the shop. Raises Failure if this machine cannot hold the demo."""
    text = os.environ.get("PORT", str(WEB_PORT))
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise Failure(f"PORT is {text!r}, which is no port", "PORT=8080 make demo")
    port = int(text)
    if not environment.is_free(port):
        raise Failure(
            f"port {port} is in use", f"stop what listens there, or choose another: PORT={port + 1} make demo"
        )
    free = shutil.disk_usage(ROOT).free
    if free < FREE_BYTES:
        raise Failure(
            f"the disk is full: {free / 1e9:.1f} GB are free, the demo needs {FREE_BYTES / 1e9:.1f} GB",
            "free some space, then run this again",
        )
    return port


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _refuse(console: Console, why: str, cure: str) -> int:
    console.print(f"[red]✗[/] The demo does not start: {why}.\n  What to do: {cure}")
    return 1


def _explain(console: Console, why: str, cure: str, process: Process | None) -> int:
    tail = process.tail() if process else ""
    if "No space left on device" in tail or "database or disk is full" in tail:
        why, cure = f"{why}: the disk is full", "free some space, then run this again"
    console.print(f"\n[red]✗[/] {why}.")
    if tail:
        console.print("  Its log ends:")
        console.print("\n".join(f"    {line}" for line in tail.splitlines()), markup=False, style="dim")
    console.print(f"  What to do: {cure}\n  Everything else is stopped.")
    return 1


def _welcome(console: Console, web_port: int, shoppers: list[DemoShopper], seconds: float) -> None:
    installing = float(os.environ.get("AISLE_INSTALL_SECONDS", 0))
    downloading = float(os.environ.get("AISLE_DOWNLOAD_SECONDS", 0))
    names = ", ".join(shopper.name for shopper in shoppers[:4])
    console.print(f"\n[bold green]Aisle is running:[/] [bold]http://localhost:{web_port}[/]")
    console.print(f"  Sign in as     {names}: http://localhost:{web_port}{DemoShopper.PAGE}")
    console.print(f"  Logs           {os.path.relpath(LOGS)}/")
    console.print('  A shell beside eval "$(.venv/bin/python -m deploy.local env)"')
    console.print("  Stop           Ctrl-C; the next start takes seconds. Forget everything: make clean")
    install = f"{installing:.0f} s of installing ({downloading:.0f} s of it download) and " if installing else ""
    console.print(f"  Ready after    {install}{seconds:.0f} s")
