"""What browsers may load and run on the shop's pages: the Content-Security-Policy, the same on every answer."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Handler = Callable[[HttpRequest], HttpResponseBase]

HEADER = "Content-Security-Policy"


def content_security(get_response: Handler) -> Handler:
    """Middleware. The setting and what it means are Django 6.0's, whose own middleware may take this one's place.

    Until then django-csp would: it makes the policy anew for each answer, which was a fifth of a short request.
    """
    policy = "; ".join(" ".join((directive, *sources)) for directive, sources in settings.SECURE_CSP.items())

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_debugging = settings.DEBUG and response.status_code in (404, 500)  # Django's own pages are styled inline
        if not is_debugging:
            response.headers.setdefault(HEADER, policy)
        return response

    return answer
