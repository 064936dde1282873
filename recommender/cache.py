"""Slates in Redis: kept, read, withdrawn.

A key's value is a head of three numbers (until when it is fresh, the event and the generation that it was made from)
and then a body. Whoever finds a slate missing or stale makes its key pending in the same step.

A shopper's two slates of 48 products take 3 kB, so a gigabyte holds some 330,000 shoppers; give Redis ``maxmemory``
and ``volatile-lfu``, and what is full gives up the slates read least and never the work. Bodies are not compressed:
zlib's fastest would keep 1.2 kB, for 43 µs of each write and 17 µs of each read, as much as all else that is done to
them (prototype, one core).
"""

import random
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from recommender import store
from recommender.pending import IN_FLIGHT, LATER, PENDING, WAKE, WAKE_SECONDS
from recommender.store import NOW, PREFIX, CacheDown

__all__ = [
    "KEPT",
    "NEWER",
    "REFUSED",
    "Body",
    "CacheDown",
    "Entry",
    "Read",
    "drop_old_generations",
    "made_from",
    "peek",
    "put",
    "read",
    "withdraw",
]

_HEAD = struct.Struct("<qqq")  # fresh until (milliseconds since 1970), event, generation; scripts know it as '<i8i8i8'
# Of shoppers who withdrew: the generation below which nothing is written, and since when it holds. Without a time to
# live, for what has one may be evicted; the sweep drops it once no drain can still hold an older generation.
_GENERATIONS, _SINCE = f"{PREFIX}generations", f"{PREFIX}generations:since"
_GENERATION_SECONDS = 86_400
# Slates written by one script call. Redis serves nobody else meanwhile: a few dozen take some tenths of a millisecond.
_AT_ONCE = 32

REFUSED, KEPT, NEWER = 0, 1, 2  # what became of an entry; NEWER was kept and follows a newer event

# How long a slate counts as fresh, and is kept, in seconds. A shopper's own is made anew by every event, so these
# bound only how long a change of model or season stays unnoticed; a stale one is still shown while it is remade.
_TIMES = {
    "shopper": (6 * 3600, 7 * 86_400),
    "product": (24 * 3600, 7 * 86_400),
    "cart": (3600, 86_400),
    "popular": (1800, 7 * 86_400),
}

_READ = (
    NOW
    + """
-- KEYS: pending, in flight, wake, slate…   ARGV: seconds of a wake-up, key…
local answer, wanted = {0}, false
for i = 4, #KEYS do
  local held = redis.call('GET', KEYS[i])
  local fresh = held and struct.unpack('<i8', held) > now
  if not fresh and not redis.call('ZSCORE', KEYS[2], ARGV[i - 2]) then
    redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i - 2])
    wanted = true -- also if it was pending: the wake-up sent for it may have expired before a worker came
  end
  answer[#answer + 1] = held
  answer[#answer + 1] = fresh and 1 or 0
end
if wanted and redis.call('SET', KEYS[3], 1, 'NX', 'EX', ARGV[1]) then answer[1] = 1 end
return answer
"""
)

_PUT = (
    NOW
    + """
-- KEYS: in flight, generations, slate…
-- ARGV: deadline, then of each entry: key, event, generation, fresh milliseconds, kept milliseconds, body
-- Answers for each entry REFUSED, KEPT or NEWER.
local kept = {}
for i = 0, #KEYS - 3 do
  local slate, key, at = KEYS[i + 3], ARGV[6 * i + 2], 6 * i + 3
  local event, generation, verdict = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), 2
  -- Only the drain that took the key last may say that it is done.
  if redis.call('ZSCORE', KEYS[1], key) == ARGV[1] then redis.call('ZREM', KEYS[1], key) end
  local head = redis.call('GETRANGE', slate, 0, 23)
  if #head == 24 then
    local _, held_event, held_generation = struct.unpack('<i8i8i8', head)
    if held_generation > generation or held_generation == generation and held_event > event then verdict = 0
    elseif held_generation == generation and held_event == event then verdict = 1 end
  end
  if verdict > 0 and tonumber(redis.call('HGET', KEYS[2], key) or 0) > generation then verdict = 0 end
  if verdict > 0 then
    local fresh = struct.pack('<i8i8i8', now + ARGV[at + 2], event, generation)
    redis.call('SET', slate, fresh .. ARGV[at + 4], 'PX', ARGV[at + 3])
  end
  kept[i + 1] = verdict
end
return kept
"""
)

_WITHDRAW = (
    NOW
    + """
-- KEYS: slate, generations, since, pending, later, in flight   ARGV: key, generation
if tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) <= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[3], now, ARGV[1])
end
redis.call('DEL', KEYS[1])
for i = 4, 6 do redis.call('ZREM', KEYS[i], ARGV[1]) end
"""
)

_DROP_OLD_GENERATIONS = (
    NOW
    + """
-- KEYS: generations, since   ARGV: seconds that one is kept, how many
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1] * 1000, 'LIMIT', 0, ARGV[2])
for _, key in ipairs(old) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
return #old
"""
)


# Product ids, scores and reasons of one slate, best first: by column, which is made and read in half the time of rows.
Columns = tuple[Sequence[str], Sequence[float], Sequence[str | None]]


class Body(NamedTuple):
    """What is kept of one answer: its slates by name."""

    slate_id: str = ""
    model_version: str = ""
    arm: str = ""
    slates: Mapping[str, Columns] = MappingProxyType({})
    fresh: bool = True


class Held(NamedTuple):
    """What Redis holds for a key: head and body."""

    value: bytes
    fresh: bool

    def decoded(self) -> Body:
        slate_id, model_version, arm, slates = orjson.loads(memoryview(self.value)[_HEAD.size :])
        return Body(slate_id, model_version, arm, slates, self.fresh)


class Read(NamedTuple):
    """What is held, by key (a key without slates is absent), and whether the reader must wake a worker."""

    held: dict[str, Held]
    wake: bool


class Entry(NamedTuple):
    """A body to put, with the event and generation that it was made from (0 where a key has no shopper)."""

    key: str
    body: Body
    event: int = 0
    generation: int = 0


def read(keys: Sequence[str]) -> Read:
    """The slates of these keys, in one round trip; the missing and the stale become pending in the same trip."""
    if not keys:
        return Read({}, False)
    with store.redis():
        wake, *answer = store.script(_READ)(
            keys=[PENDING, IN_FLIGHT, WAKE, *map(_slate, keys)], args=[WAKE_SECONDS, *keys]
        )
    found = zip(keys, answer[::2], answer[1::2], strict=True)
    return Read({key: Held(value, bool(fresh)) for key, value, fresh in found if value is not None}, bool(wake))


def peek(key: str) -> Body | None:
    """A key's slates, without asking for new ones."""
    with store.redis() as redis:
        value: Any = redis.get(_slate(key))
    return None if value is None else Held(value, True).decoded()


def put(entries: Sequence[Entry], deadline: int) -> list[int]:
    """Keep bodies, unless a newer one is kept or the shopper's past was withdrawn.

    Returns for each entry REFUSED, KEPT or NEWER.
    """
    verdicts: list[int] = []
    with store.redis():
        script = store.script(_PUT)
        for start in range(0, len(entries), _AT_ONCE):
            keys: list[str] = [IN_FLIGHT, _GENERATIONS]
            args: list[Any] = [deadline]
            for entry in entries[start : start + _AT_ONCE]:
                fresh, kept = _TIMES[entry.key.partition(":")[0]]
                keys.append(_slate(entry.key))
                args += (
                    entry.key,
                    entry.event,
                    entry.generation,
                    _jittered(fresh),
                    _jittered(kept),
                    _encoded(entry.body),
                )
            verdicts += script(keys=keys, args=args)
    return verdicts


def withdraw(key: str, generation: int) -> None:
    """Forget a key's slates, and refuse what drains that began before this generation will bring."""
    with store.redis():
        store.script(_WITHDRAW)(
            keys=[_slate(key), _GENERATIONS, _SINCE, PENDING, LATER, IN_FLIGHT], args=[key, generation]
        )


def drop_old_generations() -> int:
    """Forget the generations of withdrawals that are a day old: no drain takes so long. Returns how many."""
    with store.redis():
        return int(store.script(_DROP_OLD_GENERATIONS)(keys=[_GENERATIONS, _SINCE], args=[_GENERATION_SECONDS, 10_000]))


def made_from(keys: Sequence[str]) -> dict[str, int]:
    """The event that each key's slate was made from; a key without slate is absent."""
    with store.redis() as redis:
        pipe = redis.pipeline(transaction=False)
        for key in keys:
            pipe.getrange(_slate(key), 0, _HEAD.size - 1)
        heads = zip(keys, pipe.execute(), strict=True)
        return {key: _HEAD.unpack(head)[1] for key, head in heads if head}


def _slate(key: str) -> str:
    return f"{PREFIX}slate:{key}"


def _encoded(body: Body) -> bytes:
    return orjson.dumps([body.slate_id, body.model_version, body.arm, dict(body.slates)])


def _jittered(seconds: int) -> int:
    """Milliseconds, give or take a tenth, so that what was made together does not expire together."""
    return int(seconds * 1000 * random.uniform(0.9, 1.1))  # noqa: S311
