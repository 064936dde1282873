"""A stranger who makes the rounds of every page that must outlive the database, so that each has a copy in time.

A thread of each web process, which asks its own application. Without it only pages that somebody has happened to look
at, in this very process, would be served while the database is away (storefront.outage).
"""

import logging
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from threading import Thread
from typing import Any

from django.conf import settings
from django.db import connection

from storefront import menu, outage

log = logging.getLogger(__name__)

SHARE = 0.03  # of a core, at most: between two pages the stranger rests, for people come first
AGAIN_SECONDS = 600.0  # a copy's age when the database goes away is at most this and a round
SOON_SECONDS = 5.0  # where the home page has no panel yet, or the catalogue could not be read

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def start(application: Application) -> None:
    """Make rounds from now on."""
    Thread(target=_walk, args=(application,), name="rounds", daemon=True).start()


def make(application: Application, visited: set[str]) -> bool:
    """One round; adds to ``visited``. Returns whether pages have their panel by now.

    The home page's is what every other page falls back on: until it is there, no page is visited twice.
    """
    whole = _visit(application, "/")
    for address in _addresses():
        if whole or address not in visited:
            began = time.thread_time()
            _visit(application, address)
            visited.add(address)
            time.sleep((time.thread_time() - began) * (1 / SHARE - 1))
    return whole


def _walk(application: Application) -> None:
    visited: set[str] = set()
    while True:
        whole = False
        try:
            whole = make(application, visited)
        except Exception as error:  # the database's, mostly; whatever it is, there is another round
            log.warning("The round was not finished: %s", error)
        finally:
            connection.close()  # this thread's own
        time.sleep(AGAIN_SECONDS if whole else SOON_SECONDS)


def _addresses() -> list[str]:
    """Departments, then categories: as many as there is room for copies, beside the home page's."""
    departments = menu.departments().values()
    categories = [category.url for one in departments for category in one.categories.values()]
    return [*(one.url for one in departments), *categories][: outage.COPIES - 1]


def _visit(application: Application, address: str) -> bool:
    """Whether the page has its panel. Asked for as our own proxy would ask, without cookies."""
    response = application(
        {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": address,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost",
            "HTTP_X_FORWARDED_PROTO": "https",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        },
        lambda *_: None,
    )
    try:
        return outage.PANEL in b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()  # Django's sign that the request is over
