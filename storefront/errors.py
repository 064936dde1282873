"""What a visitor sees when something goes wrong, and a program too: JSON below /api/, pages that help elsewhere."""

import logging
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from storefront import menu

log = logging.getLogger(__name__)

RETRY_SECONDS = 10


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 400, "The address or the body is not as expected.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "This is not open to you.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, 403, "The CSRF token is missing or wrong.", "403_csrf.html")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "There is nothing at this address.", departments=menu.departments().values())


def too_many(request: HttpRequest, seconds: int) -> HttpResponse:
    """``seconds``: how long the limit's window is, and so the longest that anybody must wait."""
    response = _answer(request, 429, "Too many tries.", minutes=-(-seconds // 60))
    response.headers["Retry-After"] = str(seconds)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    return _alone(request, 500, "Something broke on our side.")


def unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    """Something that this page cannot do without is away, for a moment."""
    log.error("%s is not served: %s", request.path, error)
    response = _alone(request, 503, "Something that this needs is away. Please try again.")
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _answer(request: HttpRequest, status: int, problem: str, template: str = "", **context: Any) -> HttpResponse:
    if _is_api(request):
        return JsonResponse({"detail": problem}, status=status)
    return render(request, template or f"{status}.html", context, status=status)


def _alone(request: HttpRequest, status: int, problem: str) -> HttpResponse:
    """From templates that stand alone: whatever broke may have broken what every other page is made of."""
    if _is_api(request):
        return JsonResponse({"detail": problem}, status=status)
    try:
        departments = list(menu.departments().values())
    except DatabaseError:  # they were not in this process's memory
        departments = []
    return HttpResponse(render_to_string(f"{status}.html", {"departments": departments}), status=status)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")
