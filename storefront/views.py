"""The pages that sell: home, category, product, search."""

from django.http import HttpRequest, HttpResponse


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else, so that a slow database does not take every web process away."""
    return HttpResponse("ok\n", content_type="text/plain")
