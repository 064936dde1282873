"""The demo's own doors: sign in as a household without a password, and who there is for the load tests.

urls.py opens them only with DEMO=1, which ``check --deploy`` refuses; every view here looks again.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps

from django.conf import settings
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from recommender import events
from storefront import account
from storefront.loading import username
from storefront.models import Account, Product

SHOWN = 12
LOOKED_AT = 48  # shoppers among whom the dozen is chosen: their histories are read once an hour
REMEMBERED = 300  # products of a history that a portrait is drawn from
KEPT = 3600  # seconds

View = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True, slots=True)
class Portrait:
    """A shopper in one line. ``tastes``: categories bought far more often than others do, the most telling first."""

    shopper: str
    name: str
    tastes: tuple[str, ...]
    favourite: str  # the product bought most often, for a picture; "" without purchases

    @property
    def line(self) -> str:
        tastes = [taste[:1].lower() + taste[1:] for taste in self.tastes]
        if not tastes:
            return "Has not bought much yet."
        return (
            f"Buys a lot of {', '.join(tastes[:-1])} and {tastes[-1]}." if tastes[1:] else f"Buys a lot of {tastes[0]}."
        )


def only_in_a_demo(view: View) -> View:
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not settings.DEMO:
            raise Http404("This is no demo.")
        return view(request)

    return guarded


@only_in_a_demo
@never_cache
@require_safe
def shoppers(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").replace("\0", "").strip()[:40]
    demo = Account.objects.filter(is_demo=True)
    if query:
        found = demo.filter(household__iendswith=f" {query}").select_related("user")[:SHOWN]
        found = found or demo.filter(household__icontains=query).select_related("user").order_by("pk")[:SHOWN]
        portraits = _portraits(found)
    else:
        portraits = list(_telling(int(time.monotonic() // KEPT), demo.count()))
    return render(
        request, "storefront/demo/shoppers.html", {"portraits": portraits, "looked_for": query, "count": demo.count()}
    )


@only_in_a_demo
@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    name = username(request.POST.get("shopper", "").replace("\0", "")[:140])
    found = get_object_or_404(Account.objects.select_related("user"), is_demo=True, user__username=name)
    account.enter(request, found.user)
    return redirect("home")


@only_in_a_demo
@never_cache
@require_safe
def weights(request: HttpRequest) -> JsonResponse:
    """Who may come and what they may look at: shoppers equally often, products as often as they sold."""
    names = Account.objects.filter(is_demo=True).order_by("pk").values_list("user__username", "household")
    sold = Product.objects.visible().in_stock().order_by("-popularity", "product_id")
    return JsonResponse(
        {
            "shoppers": [
                {"shopper": name.removeprefix(username("")), "name": household, "weight": 1}
                for name, household in names
            ],
            "products": [
                {"product_id": product_id, "weight": popularity}
                for product_id, popularity in sold.values_list("product_id", "popularity")
            ],
        }
    )


@lru_cache(maxsize=1)
def _telling(period: int, count: int) -> tuple[Portrait, ...]:
    """A dozen who differ: no two with the same foremost taste, as far as that goes."""
    demo = Account.objects.filter(is_demo=True).order_by("pk").select_related("user")
    step = max(1, count // LOOKED_AT)
    portraits = _portraits(demo[: LOOKED_AT * step : step])
    portraits.sort(key=lambda portrait: not portrait.tastes)
    firsts: dict[str, Portrait] = {}
    for portrait in portraits:
        firsts.setdefault(portrait.tastes[0] if portrait.tastes else "", portrait)
    chosen = list(firsts.values())
    chosen += [portrait for portrait in portraits if portrait not in chosen]
    return tuple(chosen[:SHOWN])


def _portraits(accounts: Iterable[Account]) -> list[Portrait]:
    accounts = list(accounts)
    bought: dict[int, Counter[str]] = {}
    for each in accounts:
        known = events.history(each.shopper_id, REMEMBERED) if each.shopper_id else []
        bought[each.pk] = Counter({item.product_id: item.count for item in known if item.kind == "purchase"})
    ids = {product_id for counts in bought.values() for product_id in counts}
    categories = dict(Product.objects.visible().filter(product_id__in=ids).values_list("product_id", "category"))
    usual = _usual()
    return [_portrait(each, bought[each.pk], categories, usual) for each in accounts]


def _portrait(each: Account, bought: Counter[str], categories: dict[str, str], usual: Mapping[str, float]) -> Portrait:
    visible = Counter({product_id: count for product_id, count in bought.items() if product_id in categories})
    counts: Counter[str] = Counter()
    for product_id, count in visible.items():
        counts[categories[product_id]] += count
    total = counts.total()

    def surprise(category: str) -> float:
        """How many standard deviations (Poisson) above what others buy of it."""
        expected = total * usual.get(category, 0.0)
        return (counts[category] - expected) / math.sqrt(max(expected, 0.5))

    telling = sorted((category for category in counts if counts[category] > 2), key=surprise, reverse=True)
    return Portrait(
        shopper=each.user.get_username().removeprefix(username("")),
        name=str(each),
        tastes=tuple(category for category in telling[:3] if surprise(category) > 1),
        favourite=visible.most_common(1)[0][0] if visible else "",
    )


def _usual() -> dict[str, float]:
    """Each category's share of all purchases."""
    sold = dict(Product.objects.order_by().values_list("category").annotate(sold=Sum("popularity")))
    total = sum(sold.values()) or 1
    return {category: count / total for category, count in sold.items()}


urlpatterns = [
    path("", shoppers, name="demo"),
    path("sign-in", sign_in, name="demo_sign_in"),
    path("weights", weights, name="demo_weights"),
]
