"""The work that makes slates, in Redis: keys (recommender.keys) that wait, and keys that somebody is at work on.

``pending``, and ``later`` for bulk work that must not delay a shopper, hold keys by the moment when they came, so
the oldest is taken first. Taking moves keys to ``in flight`` with a deadline, where the sweep finds those whose
worker died. Each step that must not be torn apart is one Lua script, which reads Redis's own clock, so that no two
machines need agree.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from recommender import store
from recommender.store import NOW, PREFIX

PENDING, LATER = f"{PREFIX}pending", f"{PREFIX}later"
IN_FLIGHT, WAKE = f"{PREFIX}in-flight", f"{PREFIX}wake"
_SWEPT, _MODEL = f"{PREFIX}swept", f"{PREFIX}model"
_WARMING, _MIXED = f"{PREFIX}warming", f"{PREFIX}mixed"
_HOLD = f"{PREFIX}hold"

WAKE_SECONDS = 30  # a wake-up that nobody took by then is given up, and the next event sends another
_EARLY_SECONDS = 0.1  # by which a hold ends before the drain that was put off comes
IN_FLIGHT_SECONDS = 30  # several times the longest drain (a few calls of aws.DEADLINE each)
# Between two takings of one process. Who comes alone is taken at once; of many, those that come meanwhile share a
# drain, whose cost is mostly its own and hardly its keys'.
SPACING = 0.02
_WARMING_SECONDS = 600  # during a canary two versions answer in turn; that must not warm everything each time

_ADD = (
    NOW
    + """
-- KEYS: pending or later, wake   ARGV: seconds of a wake-up, key…
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i]) end
return redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""
)

_TAKE = (
    NOW
    + """
-- KEYS: pending, later, in flight, wake, hold   ARGV: how many, milliseconds in flight, seconds of a wake-up
if redis.call('EXISTS', KEYS[5]) == 1 then return {now, 0, 0, {}} end
local taken, deadline = {}, now + ARGV[2]
for source = 1, 2 do
  local some = redis.call('ZPOPMIN', KEYS[source], ARGV[1] - #taken / 2)
  for _, one in ipairs(some) do taken[#taken + 1] = one end
end
for i = 1, #taken, 2 do redis.call('ZADD', KEYS[3], deadline, taken[i]) end
-- The flag falls here and not after the work: from now on an event wakes another drain, so drains overlap.
redis.call('DEL', KEYS[4])
local more = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) > 0
if more then redis.call('SET', KEYS[4], 1, 'EX', ARGV[3]) end
return {now, deadline, more and 1 or 0, taken}
"""
)

_GIVE_BACK = (
    NOW
    + """
-- KEYS: pending, in flight   ARGV: deadline, key…
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[2], ARGV[i]) == ARGV[1] then
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i])
  end
end
"""
)

_RETURN_EXPIRED = (
    NOW
    + """
-- KEYS: pending, in flight   ARGV: how many
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, key in ipairs(expired) do
  redis.call('ZREM', KEYS[2], key)
  redis.call('ZADD', KEYS[1], 'NX', now, key)
end
return #expired
"""
)

_WAKE_IF_PENDING = """
-- KEYS: pending, later, wake   ARGV: seconds of a wake-up
if redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) == 0 then return 0 end
return redis.call('SET', KEYS[3], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""

_NEW_MODEL = """
-- KEYS: model, warming, mixed   ARGV: version, seconds
local changed = redis.call('GET', KEYS[1]) ~= ARGV[1]
if not changed and redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[2]) then
  -- What the last warming asked for, another model may have answered: once the canary is over it is asked for again.
  if changed then redis.call('SET', KEYS[3], 1) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Keys taken and how long each waited (seconds), the deadline that marks them as ours, the moment of taking
    (seconds since 1970, Redis's clock), and whether the taker must wake another worker."""

    keys: tuple[str, ...]
    waited: tuple[float, ...]
    deadline: int
    moment: float
    more: bool


def add(keys: Collection[str], later: bool = False) -> bool:
    """Make keys pending. True if the caller must wake a worker."""
    wake = False
    with store.redis():
        for some in _some(keys):
            wake |= bool(store.script(_ADD)(keys=[LATER if later else PENDING, WAKE], args=[WAKE_SECONDS, *some]))
    return wake


def take(most: int) -> Taken:
    """Move up to so many keys in flight, when it is this process's turn; pending before later, the oldest first. None
    while work is held."""
    _wait_for_turn()
    with store.redis():
        now, deadline, more, taken = store.script(_TAKE)(
            keys=[PENDING, LATER, IN_FLIGHT, WAKE, _HOLD],
            args=[most, IN_FLIGHT_SECONDS * 1000, WAKE_SECONDS],
        )
    waited = tuple((now - float(since)) / 1000 for since in taken[1::2])
    return Taken(tuple(key.decode() for key in taken[::2]), waited, deadline, now / 1000, bool(more))


def _wait_for_turn() -> None:
    global _next_turn
    with _turns:
        now = time.monotonic()
        turn = max(_next_turn, now)
        _next_turn = turn + SPACING
    time.sleep(turn - now)


_turns, _next_turn = Lock(), 0.0


def give_back(keys: Collection[str], deadline: int) -> None:
    """Make keys pending again that this deadline's taker could not serve. Wakes nobody: the caller backs off."""
    with store.redis():
        for some in _some(keys):
            store.script(_GIVE_BACK)(keys=[PENDING, IN_FLIGHT], args=[deadline, *some])


def return_expired() -> int:
    """Make keys pending again whose worker died."""
    with store.redis():
        return int(store.script(_RETURN_EXPIRED)(keys=[PENDING, IN_FLIGHT], args=[10_000]))


def wake_if_pending() -> bool:
    """True if keys wait, no wake-up does, and so the caller must send one."""
    with store.redis():
        return bool(store.script(_WAKE_IF_PENDING)(keys=[PENDING, LATER, WAKE], args=[WAKE_SECONDS]))


def hold(seconds: int) -> bool:
    """Let nobody take anything for so long, and nobody wake a worker. True if the caller must send the one that looks
    again afterwards; False if another has promised to."""
    with store.redis() as redis:
        first = redis.set(_HOLD, 1, nx=True, px=int((seconds - _EARLY_SECONDS) * 1000))
        redis.set(WAKE, 1, ex=seconds + WAKE_SECONDS)
    return bool(first)


def drop_wake() -> None:
    """The wake-up that was promised could not be sent: let the next one try."""
    with store.redis() as redis:
        redis.delete(WAKE)


def swept() -> float | None:
    """Until when (seconds since 1970) the sweep has compared events with slates; None if that was lost."""
    with store.redis() as redis:
        moment: Any = redis.get(_SWEPT)
    return None if moment is None else float(moment)


def mark_swept(moment: float) -> None:
    with store.redis() as redis:
        redis.set(_SWEPT, moment)


def is_new_model(model_version: str) -> bool:
    """True once for each change of the model that answers, and once more after a time in which two did."""
    with store.redis():
        return bool(store.script(_NEW_MODEL)(keys=[_MODEL, _WARMING, _MIXED], args=[model_version, _WARMING_SECONDS]))


def _some(keys: Collection[str]) -> Iterator[Sequence[str]]:
    listed = list(keys)
    for start in range(0, len(listed), 1000):  # a script's arguments are bounded, and nobody else is served meanwhile
        yield listed[start : start + 1000]
