"""The pages that sell: home, product, and the panel that swaps itself in. Those that find are in listing.py."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import reswap, retarget

from storefront import menu, panels
from storefront import visitor as visitors
from storefront.listing import whole
from storefront.models import Product


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    shown = panels.for_page(visitors.of(request), ["for_you", "again", "popular"])
    if "for_you" in shown and shown["for_you"].slate.source == "popular":
        shown.pop("popular", None)  # it would be the same list, continued
    return render(request, "home.html", {"panels": shown})


@require_safe
def product(request: HttpRequest, product_id: str) -> HttpResponse:
    found = get_object_or_404(Product.objects.visible(), product_id=product_id)
    visitor = visitors.of(request)
    shown = panels.for_page(visitor, ["together", "similar", "for_you"], found, found.category, awaits=True)
    context = {
        "product": found,
        "place": menu.place(found.department, found.category),
        "panels": shown,
        "in_cart": visitor.cart.get(found.product_id, 0),
    }
    return render(request, "product.html", context)


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


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else, so that a slow database does not take every web process away."""
    return HttpResponse("ok\n", content_type="text/plain")
