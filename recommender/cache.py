"""Slates, and the work that makes them, in Redis: the only module that speaks to Redis for either.

A slate is a hash: its body, the event and generation that it was made from, and until when it is fresh.
Work is a set of keys (recommender.keys): ``pending``, and ``later`` for bulk work that must not delay a shopper.
Taking moves keys to ``in flight`` with a deadline, where the sweep finds those whose worker died. Each step that
must not be torn apart is one Lua script, which reads Redis's own clock, so that no two machines need agree.
"""

import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

_PREFIX = "aisle:"
_PENDING, _LATER = f"{_PREFIX}pending", f"{_PREFIX}later"
_IN_FLIGHT, _WAKE = f"{_PREFIX}in-flight", f"{_PREFIX}wake"
_SWEPT, _MODEL, _WARMING = f"{_PREFIX}swept", f"{_PREFIX}model", f"{_PREFIX}warming"

WAKE_SECONDS = 30  # a wake-up that nobody took by then is given up, and the next event sends another
IN_FLIGHT_SECONDS = 30  # several times the longest drain (a few calls of aws.DEADLINE each)
_GENERATION_SECONDS = 86_400  # outlives every drain that may still hold an older generation
_WARMING_SECONDS = 600  # during a canary two versions answer in turn; that must not warm everything each time
_AWAY_SECONDS = 1.0

# How long a slate counts as fresh, and is kept, in seconds. A shopper's own is made anew by every event, so these
# bound only how long a change of model or season stays unnoticed; a stale one is still shown while it is remade.
_TIMES = {
    "shopper": (6 * 3600, 7 * 86_400),
    "product": (24 * 3600, 7 * 86_400),
    "cart": (3600, 86_400),
    "popular": (1800, 7 * 86_400),
}

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

_READ = (
    _NOW
    + """
-- KEYS: pending, in flight, wake, slate…   ARGV: seconds of a wake-up, key…
local answer, wanted = {0}, false
for i = 4, #KEYS do
  local held = redis.call('HMGET', KEYS[i], 'body', 'until')
  local fresh = held[1] and tonumber(held[2]) > now
  if not fresh and not redis.call('ZSCORE', KEYS[2], ARGV[i - 2]) then
    redis.call('SADD', KEYS[1], ARGV[i - 2])
    wanted = true -- also if it was pending: the wake-up sent for it may have expired before a worker came
  end
  answer[#answer + 1] = held[1]
  answer[#answer + 1] = fresh and 1 or 0
end
if wanted and redis.call('SET', KEYS[3], 1, 'NX', 'EX', ARGV[1]) then answer[1] = 1 end
return answer
"""
)

_ADD = """
-- KEYS: pending or later, wake   ARGV: seconds of a wake-up, key…
redis.call('SADD', KEYS[1], unpack(ARGV, 2))
return redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""

_TAKE = (
    _NOW
    + """
-- KEYS: pending, later, in flight, wake   ARGV: how many, milliseconds in flight, seconds of a wake-up
local taken = redis.call('SPOP', KEYS[1], ARGV[1])
if #taken < tonumber(ARGV[1]) then
  for _, key in ipairs(redis.call('SPOP', KEYS[2], ARGV[1] - #taken)) do taken[#taken + 1] = key end
end
local deadline = now + ARGV[2]
for _, key in ipairs(taken) do redis.call('ZADD', KEYS[3], deadline, key) end
-- The flag falls here and not after the work: from now on an event wakes another drain, so drains overlap.
redis.call('DEL', KEYS[4])
local more = redis.call('SCARD', KEYS[1]) + redis.call('SCARD', KEYS[2]) > 0
if more then redis.call('SET', KEYS[4], 1, 'EX', ARGV[3]) end
return {deadline, more and 1 or 0, taken}
"""
)

_PUT = (
    _NOW
    + """
-- KEYS: slate, generation, in flight   ARGV: key, deadline, event, generation, body, fresh ms, kept ms
-- Only the drain that took the key last may say that it is done.
if redis.call('ZSCORE', KEYS[3], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[3], ARGV[1]) end
local event, generation = tonumber(ARGV[3]), tonumber(ARGV[4])
if tonumber(redis.call('GET', KEYS[2]) or 0) > generation then return 0 end
local held = redis.call('HMGET', KEYS[1], 'generation', 'event')
if held[1] then
  local held_generation, held_event = tonumber(held[1]), tonumber(held[2])
  if held_generation > generation or held_generation == generation and held_event > event then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'body', ARGV[5], 'event', event, 'generation', generation, 'until', now + ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1
"""
)

_GIVE_BACK = """
-- KEYS: pending, in flight   ARGV: deadline, key…
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[2], ARGV[i]) == ARGV[1] then
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('SADD', KEYS[1], ARGV[i])
  end
end
"""

_RETURN_EXPIRED = (
    _NOW
    + """
-- KEYS: pending, in flight   ARGV: how many
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, key in ipairs(expired) do
  redis.call('ZREM', KEYS[2], key)
  redis.call('SADD', KEYS[1], key)
end
return #expired
"""
)

_WAKE_IF_PENDING = """
-- KEYS: pending, later, wake   ARGV: seconds of a wake-up
if redis.call('SCARD', KEYS[1]) + redis.call('SCARD', KEYS[2]) == 0 then return 0 end
return redis.call('SET', KEYS[3], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""

_WITHDRAW = """
-- KEYS: slate, generation, pending, later, in flight   ARGV: key, generation, seconds
if tonumber(redis.call('GET', KEYS[2]) or 0) <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
"""

_NEW_MODEL = """
-- KEYS: model, warming   ARGV: version, seconds
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


class CacheDown(Exception):
    """Redis did not do what was asked: unreachable, too slow, out of memory."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept of one answer: slates by name, each a list of (product_id, score, because)."""

    slate_id: str = ""
    model_version: str = ""
    arm: str = ""
    slates: dict[str, list[tuple[str, float, str | None]]] = field(default_factory=dict)
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Read:
    """Bodies by key (a key without one is absent), and whether the reader must wake a worker."""

    bodies: dict[str, Body]
    wake: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """Keys taken, the deadline that marks them as ours, and whether the taker must wake another worker."""

    keys: tuple[str, ...]
    deadline: int
    more: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A body to put, with the event and generation that it was made from (0 where a key has no shopper)."""

    key: str
    body: Body
    event: int = 0
    generation: int = 0


def read(keys: Sequence[str]) -> Read:
    """The slates of these keys, in one round trip; the missing and the stale become pending in the same trip."""
    if not keys:
        return Read({}, False)
    with _redis():
        wake, *answer = _script(_READ)(
            keys=[_PENDING, _IN_FLIGHT, _WAKE, *map(_slate, keys)], args=[WAKE_SECONDS, *keys]
        )
    found = zip(keys, answer[::2], answer[1::2], strict=True)
    return Read({key: _decoded(body, bool(fresh)) for key, body, fresh in found if body is not None}, bool(wake))


def peek(key: str) -> Body | None:
    """A key's slates, without asking for new ones."""
    with _redis() as redis:
        body: Any = redis.hget(_slate(key), "body")
    return None if body is None else _decoded(body, True)


def add(keys: Collection[str], later: bool = False) -> bool:
    """Make keys pending. True if the caller must wake a worker."""
    wake = False
    with _redis():
        for some in _some(keys):
            wake |= bool(_script(_ADD)(keys=[_LATER if later else _PENDING, _WAKE], args=[WAKE_SECONDS, *some]))
    return wake


def take(most: int) -> Taken:
    """Move up to so many keys in flight; pending before later."""
    with _redis():
        deadline, more, keys = _script(_TAKE)(
            keys=[_PENDING, _LATER, _IN_FLIGHT, _WAKE], args=[most, IN_FLIGHT_SECONDS * 1000, WAKE_SECONDS]
        )
    return Taken(tuple(key.decode() for key in keys), deadline, bool(more))


def put(entries: Sequence[Entry], deadline: int) -> int:
    """Keep bodies, unless a newer one is kept or the shopper's past was withdrawn. Returns how many were."""
    with _redis() as redis:
        script = _script(_PUT)
        pipe = redis.pipeline(transaction=False)
        for entry in entries:
            fresh, kept = _TIMES[entry.key.partition(":")[0]]
            script(
                keys=[_slate(entry.key), _generation(entry.key), _IN_FLIGHT],
                args=[
                    entry.key, deadline, entry.event, entry.generation, _encoded(entry.body),
                    _jittered(fresh), _jittered(kept),
                ],
                client=pipe,
            )  # fmt: skip
        return sum(pipe.execute())


def give_back(keys: Collection[str], deadline: int) -> None:
    """Make keys pending again that this deadline's taker could not serve. Wakes nobody: the caller backs off."""
    with _redis():
        for some in _some(keys):
            _script(_GIVE_BACK)(keys=[_PENDING, _IN_FLIGHT], args=[deadline, *some])


def return_expired() -> int:
    """Make keys pending again whose worker died."""
    with _redis():
        return int(_script(_RETURN_EXPIRED)(keys=[_PENDING, _IN_FLIGHT], args=[10_000]))


def wake_if_pending() -> bool:
    """True if keys wait, no wake-up does, and so the caller must send one."""
    with _redis():
        return bool(_script(_WAKE_IF_PENDING)(keys=[_PENDING, _LATER, _WAKE], args=[WAKE_SECONDS]))


def hold_wake(seconds: int) -> None:
    """Let nobody wake a worker for so long: one that will look again by itself is already on its way."""
    with _redis() as redis:
        redis.set(_WAKE, 1, ex=seconds)


def drop_wake() -> None:
    """The wake-up that was promised could not be sent: let the next one try."""
    with _redis() as redis:
        redis.delete(_WAKE)


def withdraw(key: str, generation: int) -> None:
    """Forget a key's slates, and refuse what drains that began before this generation will bring."""
    with _redis():
        _script(_WITHDRAW)(
            keys=[_slate(key), _generation(key), _PENDING, _LATER, _IN_FLIGHT],
            args=[key, generation, _GENERATION_SECONDS],
        )


def made_from(keys: Sequence[str]) -> dict[str, int]:
    """The event that each key's slate was made from; a key without slate is absent."""
    with _redis() as redis:
        pipe = redis.pipeline(transaction=False)
        for key in keys:
            pipe.hget(_slate(key), "event")
        return {key: int(event) for key, event in zip(keys, pipe.execute(), strict=True) if event is not None}


def swept() -> float | None:
    """Until when (seconds since 1970) the sweep has compared events with slates; None if that was lost."""
    with _redis() as redis:
        moment: Any = redis.get(_SWEPT)
    return None if moment is None else float(moment)


def mark_swept(moment: float) -> None:
    with _redis() as redis:
        redis.set(_SWEPT, moment)


def is_new_model(model_version: str) -> bool:
    """True once for each change of the model that answers."""
    with _redis():
        return bool(_script(_NEW_MODEL)(keys=[_MODEL, _WARMING], args=[model_version, _WARMING_SECONDS]))


def _slate(key: str) -> str:
    return f"{_PREFIX}slate:{key}"


def _generation(key: str) -> str:
    return f"{_PREFIX}generation:{key}"


def _encoded(body: Body) -> bytes:
    return orjson.dumps([body.slate_id, body.model_version, body.arm, body.slates])


def _decoded(body: bytes, fresh: bool) -> Body:
    slate_id, model_version, arm, slates = orjson.loads(body)
    return Body(slate_id, model_version, arm, slates, fresh)


def _jittered(seconds: int) -> int:
    """Milliseconds, give or take a tenth, so that what was made together does not expire together."""
    return int(seconds * 1000 * random.uniform(0.9, 1.1))  # noqa: S311


def _some(keys: Collection[str]) -> Iterator[Sequence[str]]:
    listed = list(keys)
    for start in range(0, len(listed), 1000):  # Lua's unpack has room for some 8,000
        yield listed[start : start + 1000]


@cache
def _client() -> Redis:
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


@cache
def _script(source: str) -> Any:
    return _client().register_script(source)


_away_until = 0.0


@contextmanager
def _redis() -> Iterator[Redis]:
    """The client, with every trouble turned into CacheDown.

    While Redis is away, one caller in a second finds that out and the others are told at once: a host that
    swallows packets must not cost every page its timeout.
    """
    global _away_until
    if time.monotonic() < _away_until:
        raise CacheDown("Redis was away a moment ago")
    try:
        yield _client()
    except (ConnectionError, TimeoutError) as error:
        _away_until = time.monotonic() + _AWAY_SECONDS
        raise CacheDown(str(error)) from error
    except RedisError as error:
        raise CacheDown(str(error)) from error
