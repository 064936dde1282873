"""The pages that sell: home, product, and the panel that swaps itself in. Those that find are in listing.py."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import reswap, retarget

from storefront import menu, panels, structured
from storefront import visitor as visitors
from storefront.listing import whole
from storefront.models import Product

MOST_SKIPPED = 500  # more than a slate holds


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    names = ["for_you", "again", *(["similar"] if visitor.viewed else ()), "popular"]
    seed = visitor.viewed[0] if visitor.viewed else None
    shown = panels.for_page(visitor, names, seed=seed, skipped=_skipped(request))
    if "for_you" in shown and shown["for_you"].slate.source == "popular":
        shown.pop("popular", None)  # it would be the same list, continued
    return render(request, "home.html", {"panels": shown})


@require_safe
def product(request: HttpRequest, product_id: str) -> HttpResponse:
    """Also of one that is sold no more: its address is in bookmarks and orders, and something like it is near."""
    found = get_object_or_404(Product, product_id=product_id)
    visitor, place = visitors.of(request), menu.place(found.department, found.category)
    names = ["together", "similar"] if found.can_be_bought else ["similar", "together"]
    shown = panels.for_page(
        visitor, [*names, "for_you", panels.RECENT], found, found.category,
        awaits=not found.hidden, skipped=_skipped(request),
    )  # fmt: skip
    context = {
        "product": found,
        "place": place,
        "panels": [shown[name] for name in (*names, "for_you", panels.RECENT) if name in shown],
        "in_cart": visitor.cart.get(found.product_id, 0),
        "facts": structured.facts(request, found, place),
    }
    return render(request, "product.html", context, status=404 if found.hidden else 200)


@require_safe
@never_cache
def panel(request: HttpRequest) -> HttpResponse:
    """The panel's question whether there is a newer slate than the one it shows.

    Answers with the panel anew, or with the next question in place of this one, or, after the last, with nothing.
    """
    seen, look = request.GET.get("seen", ""), whole(request.GET.get("n", ""), 1, len(panels.POLLS))
    product_id = request.GET.get("at", "").replace("\0", "")
    product = Product.objects.filter(product_id=product_id).first() if product_id else None
    newer = panels.newer(visitors.of(request), seen, look, product)
    if newer is not None:
        answer = render(request, "panel.html", {"panel": newer})
        return reswap(retarget(answer, "#panel-for_you"), "outerHTML")
    if look == len(panels.POLLS):
        return HttpResponse()
    poll = panels.poll_address(seen, look + 1, product_id)
    return render(request, "poll.html", {"poll": poll, "delay": panels.POLLS[look]})


def _skipped(request: HttpRequest) -> int:
    """Of "Recommended for you", how many products were seen before others were asked for."""
    return whole(request.GET.get("others", "0"), 0, MOST_SKIPPED)


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else, so that a slow database does not take every web process away."""
    return HttpResponse("ok\n", content_type="text/plain")
