"""How often somebody may try something, counted in Redis; without Redis nobody is counted, and nobody is shut out."""

import hashlib
import logging
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


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
            cache.add(key, 0, self.seconds)
            return cache.incr(key) > self.most
        except ValueError:  # the window ended between the two
            return False
        except RedisError as error:
            log.warning("%s is not limited, for Redis is away: %s", self.name, error)
            return False

    def clear(self, *whom: str) -> None:
        try:
            cache.delete(self._key(whom))
        except RedisError as error:
            log.warning("tries of %s stay counted, for Redis is away: %s", self.name, error)

    def _key(self, whom: tuple[str, ...]) -> str:
        # Names and addresses are people's: Redis holds what they hash to, for as long as the window.
        return "limit:" + hashlib.sha256(repr((self.name, *whom)).encode()).hexdigest()


def address(request: HttpRequest) -> str:
    """The visitor's address: what our own proxy appended last, which no visitor can choose; without one, the peer's."""
    forwarded = "" if settings.LOCAL else request.headers.get("X-Forwarded-For", "")
    return forwarded.rpartition(",")[2].strip() or str(request.META.get("REMOTE_ADDR", ""))
