"""A signed-in shopper's pages are kept by no browser: after signing out, "back" shows none of them."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from storefront import visitor as visitors

Handler = Callable[[HttpRequest], HttpResponseBase]


def not_stored(get_response: Handler) -> Handler:
    """Middleware. Looks at pages alone: for a picture, the question would make its answer depend on the cookie."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and "Cache-Control" not in response.headers and visitors.of(request).is_signed_in:
            response.headers["Cache-Control"] = "no-store"
        return response

    return answer
