"""Where a request's time went, told in a ``Server-Timing`` header: milliseconds and nothing about anybody.

Browsers show it beside the request, and the load tests split their latencies by it.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponseBase

from recommender import metrics


class ServerTiming:
    """Outermost of the middleware, so that ``total`` is all of Django's time. ``redis`` is that of reading slates and
    asking for new ones; the rate limits' is not in it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began, redis, database = perf_counter(), metrics.redis_seconds(), Stopwatch()
        with connection.execute_wrapper(database):
            response = self.get_response(request)
        response["Server-Timing"] = (
            f"total;dur={(perf_counter() - began) * 1000:.2f}, "
            f"redis;dur={(metrics.redis_seconds() - redis) * 1000:.2f}, "
            f'db;dur={database.seconds * 1000:.2f};desc="{database.statements} queries"'
        )
        return response


class Stopwatch:
    """Runs while the database executes a statement, and counts them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.statements = 0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        began = perf_counter()
        self.statements += 1
        try:
            return execute(*arguments)
        finally:
            self.seconds += perf_counter() - began
