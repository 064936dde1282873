"""How often somebody may try something, counted in Redis; without Redis nobody is counted, and nobody is shut out."""

import hashlib
import logging
import os
import threading
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, RedisError
from redis.retry import Retry

log = logging.getLogger(__name__)

_COUNT = """
-- KEYS: whose tries   ARGV: seconds
local tries = redis.call('INCR', KEYS[1])
if tries == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return tries
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """``most`` tries in a window of ``seconds``, which begins with the first."""

    name: str
    most: int
    seconds: int

    def exceeded(self, *whom: str) -> bool:
        """Count one more try of whom, before it is made, so that tries made at one moment are all counted."""
        key = self._key(whom)
        try:
            return _counted(key, self.seconds) > self.most
        except RedisError as error:
            log.warning("%s is not limited, for Redis is away: %s", self.name, error)
            return False

    def clear(self, *whom: str) -> None:
        try:
            _redis().delete(self._key(whom))
        except RedisError as error:
            log.warning("tries of %s stay counted, for Redis is away: %s", self.name, error)

    def _key(self, whom: tuple[str, ...]) -> str:
        # Names and addresses are people's: Redis holds what they hash to, for as long as the window.
        return "shop:limit:" + hashlib.sha256(repr((self.name, *whom)).encode()).hexdigest()


def _counted(key: str, seconds: int) -> int:
    """On a connection of this thread's own: the client's way, through its pool, its retries and its own metrics, takes
    several times what Redis takes. It is the way back from what a connection may meet."""
    if not hasattr(_own, "connection"):
        pool = _redis().connection_pool
        _own.connection = pool.connection_class(**pool.connection_kwargs)
    try:
        _own.connection.send_command("EVALSHA", _SHA, 1, key, seconds, check_health=False)
        return int(_own.connection.read_response())
    except (ConnectionError, NoScriptError):
        return int(_redis().eval(_COUNT, 1, key, str(seconds)))


_SHA = hashlib.sha1(_COUNT.encode(), usedforsecurity=False).hexdigest()  # by which Redis knows it
_own = threading.local()
os.register_at_fork(after_in_child=lambda: vars(_own).clear())  # two processes must not read one connection's answers


@cache
def _redis() -> Redis:
    """As recommender's: once more, at once, and only for a connection that a restarted Redis has closed."""
    return Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=0.2,
        socket_timeout=0.5,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )


def address(request: HttpRequest) -> str:
    """The visitor's address: what the outermost of our own proxies saw, for each appends whom it heard; what stands
    before that is the visitor's own claim. Without proxies, the peer's."""
    listed = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    ours = [one for one in listed if one][-settings.NUM_PROXIES :] if settings.NUM_PROXIES else []
    return ours[0] if ours else str(request.META.get("REMOTE_ADDR", ""))
