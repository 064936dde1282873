"""``/metrics``: what Prometheus scrapes. Counts and durations only, but a shop's numbers are its own business."""

from secrets import compare_digest

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from recommender import metrics


@require_safe
def scrape(request: HttpRequest) -> HttpResponse:
    """With METRICS_TOKEN for whoever bears it; without, for this machine alone, and only in a demonstration: behind a
    proxy everybody seems to come from there."""
    if not _may(request):
        raise Http404
    try:
        return HttpResponse(metrics.text(), content_type=CONTENT_TYPE_LATEST)
    except metrics.CacheDown as error:
        return HttpResponse(f"Redis is away: {error}\n", status=503, content_type="text/plain")


def _may(request: HttpRequest) -> bool:
    token: str = settings.METRICS_TOKEN
    if token:
        return compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
    return settings.LOCAL and request.META.get("REMOTE_ADDR") in {"127.0.0.1", "::1"}
