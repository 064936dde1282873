"""The database is away: home and department pages are still served, and the rest says so, with a time to try again.

What is served is the last good copy of that page as a stranger saw it, kept in this process's memory; storefront.rounds
sees to it that there is one. The copy is nobody's: it was made from a request without a session, and the form token in
it is replaced by each reader's own. A copy with a panel never gives way to one without.
"""

import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token

from storefront import errors
from storefront.visitor import VIEWED

PAGES = frozenset({"home", "department", "category"})  # by the names of their addresses
PANEL = b'id="panel-for_you"'  # what a page has once slates are there
COPIES = 512  # some 10 KB each: a few megabytes at most
COPIED = "Aisle-Copy"  # the header that marks one
KEPT_SECONDS = 60.0  # a copy is made anew no more often
AWAY_SECONDS = 1.0  # between two requests that find out whether the database is still away…
ASKING_SECONDS = 10.0  # …and longer than finding out may take, for one thread waits for that and no more

_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([A-Za-z0-9]{64})"')
_ASKS = "aisle.asks"  # marks the request that finds out
_PLACE = b"{token of whoever reads this}"


@dataclass(frozen=True, slots=True)
class Copy:
    made: float
    packed: bytes
    has_panel: bool


class Outage:
    """Middleware, inside CsrfViewMiddleware, since it needs the reader's token."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.asked_again_at = 0.0  # 0 while the database answers
        self.copies: OrderedDict[str, Copy] = OrderedDict()
        self.lock = Lock()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if self.asked_again_at:
            self._learn(request)
        if _is_anybodys(request, response):
            self._keep(request.path, response)  # type: ignore[arg-type]  # a page, as was just seen
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """While the database is away, one request at a time finds out whether it still is: finding out may take as
        long as a connection may, and every thread would wait."""
        if not self.asked_again_at or _name(request) == "healthz":
            return None
        with self.lock:
            now = time.monotonic()
            mine = now >= self.asked_again_at
            if mine:
                self.asked_again_at = now + ASKING_SECONDS
                request.META[_ASKS] = True
        return None if mine else self._without(request, OperationalError("the database was away a moment ago"))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        if connection.connection is None:  # nobody there: unlike a statement that took too long
            self.asked_again_at = time.monotonic() + AWAY_SECONDS
        return self._without(request, exception)

    def _learn(self, request: HttpRequest) -> None:
        """From a request that got through."""
        if connection.connection is not None and not connection.errors_occurred:
            self.asked_again_at = 0.0  # it has spoken with the database
        elif _ASKS in request.META:
            self.asked_again_at = time.monotonic() + AWAY_SECONDS

    def _without(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        copy = self.copies.get(request.path) if _is_copied(request) else None
        return errors.unavailable(request, exception) if copy is None else _served(request, copy)

    def _keep(self, path: str, response: HttpResponse) -> None:
        now = time.monotonic()
        held = self.copies.get(path)
        body = response.content
        has_panel = PANEL in body
        if held and (held.has_panel > has_panel or (held.has_panel == has_panel and now - held.made < KEPT_SECONDS)):
            return
        for token in set(_TOKEN.findall(body)):
            body = body.replace(token, _PLACE)
        with self.lock:
            self.copies[path] = Copy(now, zlib.compress(body, 1), has_panel)
            self.copies.move_to_end(path)
            while len(self.copies) > COPIES:
                self.copies.popitem(last=False)


def _name(request: HttpRequest) -> str | None:
    return request.resolver_match.url_name if request.resolver_match else None


def _is_copied(request: HttpRequest) -> bool:
    # Most requests are for something else, so the name comes first. An HX-Request is for a part of a listing.
    asked = request.META
    return (
        _name(request) in PAGES
        and request.method == "GET"
        and not asked.get("QUERY_STRING")
        and "HTTP_HX_REQUEST" not in asked
    )


def _is_anybodys(request: HttpRequest, response: HttpResponseBase) -> bool:
    """A whole page, made for somebody of whom nothing is known."""
    return (
        _is_copied(request)
        and response.status_code == 200
        and COPIED not in response.headers
        and not {settings.SESSION_COOKIE_NAME, VIEWED} & request.COOKIES.keys()
    )


def _served(request: HttpRequest, copy: Copy) -> HttpResponse:
    body = zlib.decompress(copy.packed).replace(_PLACE, get_token(request).encode())
    age = int(time.monotonic() - copy.made)
    return HttpResponse(body, headers={"Cache-Control": "no-store", "Age": str(age), COPIED: "the database is away"})
