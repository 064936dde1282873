"""The session in a signed cookie, opened once and not again for each request that brings it.

A shopper's every request brings the same cookie, and checking its signature and unpacking it costs more than a query.
What is kept is what was signed, as text: each request still has a dictionary of its own, and age is checked each time.
"""

import time
from functools import lru_cache
from typing import Any

from django.contrib.sessions.backends import signed_cookies
from django.core import signing

KEPT = 4_000  # cookies that one process keeps, the last ones brought; some 500 bytes each, and at most a few KB


class SessionStore(signed_cookies.SessionStore):
    def load(self) -> dict[str, Any]:
        """What the cookie holds; nothing, and a new cookie, if it is forged, damaged or too old."""
        try:
            signed_at, text = _opened(self.session_key or "")
            if time.time() - signed_at <= self.get_session_cookie_age():
                held: dict[str, Any] = self.serializer().loads(text)
                return held
        except (signing.BadSignature, ValueError):
            pass
        self.create()
        return {}


class _AsText(signing.JSONSerializer):
    def loads(self, data: bytes) -> bytes:
        return data


@lru_cache(maxsize=KEPT)
def _opened(cookie: str) -> tuple[int, bytes]:
    """When it was signed (seconds since 1970) and what. Raises BadSignature or ValueError, which are never kept."""
    text = signing.loads(cookie, salt="django.contrib.sessions.backends.signed_cookies", serializer=_AsText)
    return signing.b62_decode(cookie.rsplit(":", 2)[1]), text
