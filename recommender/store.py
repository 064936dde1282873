"""The connection to Redis, and the one error that leaves it."""

import os
import threading
import time
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Any

import hiredis
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, RedisError, TimeoutError
from redis.retry import Retry

# The braces are a hash tag: on a Redis Cluster every key lies in one slot, so that a script may touch them all.
PREFIX = "{aisle}:"
NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"  # for scripts: milliseconds
_AWAY_SECONDS = 1.0


class CacheDown(Exception):
    """Redis did not do what was asked: unreachable, too slow, out of memory."""


@cache
def client() -> Redis:
    """One client for each process, made at its first use; redis-py's pool is safe for threads and after a fork."""
    return Redis.from_url(
        settings.RECOMMENDER["REDIS_URL"],
        # A page reads here. Far above the 0.1 ms that a read takes, far below what a shopper notices.
        socket_connect_timeout=0.2,
        socket_timeout=0.5,
        # Once, at once, and only for a connection that a restarted Redis has closed: redis-py's default would
        # retry for seconds. Every script may run twice.
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )


class Script:
    """A script that Redis runs, asked for on a connection of this thread's own.

    The client's way to Redis, through its pool, its retries and its own metrics, takes five times what the command
    takes. It is still the way back from what a connection may meet: Redis was restarted, or has lost the script.
    """

    def __init__(self, source: str) -> None:
        self._registered = client().register_script(source)

    def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        connection = _connection()
        try:
            packed = hiredis.pack_command(("EVALSHA", self._registered.sha, len(keys), *keys, *args))
            connection.send_packed_command([packed], check_health=False)
            return connection.read_response()
        except (ConnectionError, NoScriptError):
            return self._registered(keys, args)


@cache
def script(source: str) -> Script:
    return Script(source)


def _connection() -> Any:
    if not hasattr(_own, "connection"):
        pool = client().connection_pool
        _own.connection = pool.connection_class(**pool.connection_kwargs)  # not the pool's: it ends with its thread
    return _own.connection


_own = threading.local()
os.register_at_fork(after_in_child=lambda: vars(_own).clear())  # two processes must not read one connection's answers
_away_until = 0.0
_spent = threading.local()


def spent() -> float:
    """Seconds that this thread has spent in Redis."""
    return float(getattr(_spent, "seconds", 0.0))


class redis:
    """``with redis() as client``: every trouble turned into CacheDown. Not a generator, which takes thrice as long.

    While Redis is away, one caller in a second finds that out and the others are told at once: a host that
    swallows packets must not cost every page its timeout.
    """

    __slots__ = ("_began",)

    def __enter__(self) -> Redis:
        self._began = time.monotonic()
        if self._began < _away_until:
            raise CacheDown("Redis was away a moment ago")
        return client()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _away_until
        _spent.seconds = spent() + time.monotonic() - self._began
        if isinstance(error, ConnectionError | TimeoutError):
            _away_until = time.monotonic() + _AWAY_SECONDS
        if isinstance(error, RedisError):
            raise CacheDown(str(error)) from error
