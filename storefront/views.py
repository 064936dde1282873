"""The pages that sell: home, department, category, product, search, and the panel that swaps itself in."""

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import reswap, retarget

from storefront import menu, panels, search
from storefront import visitor as visitors
from storefront.models import Product, ProductQuerySet

A_PAGE = 24  # products of a listing
SORTS = {
    "popular": ("Most popular", ["-popularity", "product_id"]),
    "price": ("Price, low to high", ["price_cents", "product_id"]),
    "-price": ("Price, high to low", ["-price_cents", "product_id"]),
    "name": ("Name", ["name", "product_id"]),
    "new": ("Newest", ["-created", "product_id"]),
}
LONGEST_QUERY = 100  # characters of a search


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    shown = panels.for_page(visitors.of(request), ["for_you", "again", "popular"])
    if "for_you" in shown and shown["for_you"].slate.source == "popular":
        shown.pop("popular", None)  # it would be the same list, continued
    return render(request, "home.html", {"panels": shown, "departments": menu.departments().values()})


@require_safe
def department(request: HttpRequest, department: str) -> HttpResponse:
    found = _department(department)
    products = Product.objects.visible().in_category(found.name)
    context = {"title": found.name, "department": found, "categories": found.categories.values()}
    return _listing(request, products, context)


@require_safe
def category(request: HttpRequest, department: str, category: str) -> HttpResponse:
    found = _department(department)
    if category not in found.categories:
        raise Http404("There is no such category.")
    chosen = found.categories[category]
    products = Product.objects.visible().in_category(found.name, chosen.name)
    context = {
        "title": chosen.name,
        "department": found,
        "category": chosen,
        "categories": found.categories.values(),
    }
    return _listing(request, products, context, chosen.name)


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
def search_page(request: HttpRequest) -> HttpResponse:
    # PostgreSQL refuses NUL in text, and nobody means to look for it.
    query = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_QUERY]
    if not query:
        return render(request, "search.html", {"query": "", "departments": menu.departments().values()})
    visitor = visitors.of(request)
    page = Paginator(search.find(query), A_PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {"query": query, "page": page, "cards": panels.listing(visitor, list(page.object_list))}
    if not context["cards"]:
        context |= {"panels": panels.for_page(visitor, ["for_you"]), "departments": menu.departments().values()}
    return render(request, "search.html", context)


@require_safe
@never_cache
def panel(request: HttpRequest) -> HttpResponse:
    """The panel's question whether there is a newer slate than the one it shows.

    Answers with the panel anew, or with the next question in place of this one, or, after the last, with nothing.
    """
    seen, look = request.GET.get("seen", ""), _whole(request.GET.get("n", ""), 1, len(panels.POLLS))
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


def _listing(
    request: HttpRequest, products: ProductQuerySet, context: dict[str, Any], category: str | None = None
) -> HttpResponse:
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else "popular"
    visitor = visitors.of(request)
    # get_page makes the nearest real page of whatever stands in the address.
    page = Paginator(products.order_by(*SORTS[sort][1]), A_PAGE).get_page(request.GET.get("page"))
    context |= {
        "page": page,
        "cards": panels.listing(visitor, list(page.object_list)),
        "sort": sort,
        "sorts": [(name, label) for name, (label, _) in SORTS.items()],
        "panels": panels.for_page(visitor, ["for_you"], category=category),
    }
    return render(request, "listing.html", context)


def _department(slug: str) -> menu.Department:
    found = menu.departments().get(slug)
    if found is None:
        raise Http404("There is no such department.")
    return found


def _whole(text: str, least: int, most: int) -> int:
    """The number in a query string, brought into its bounds; ``most`` for what is none."""
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 10 else most
