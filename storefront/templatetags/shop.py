"""What every page of the shop needs in its templates."""

from functools import lru_cache
from typing import Any

from django import template
from django.template import Context
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from storefront import menu
from storefront import visitor as visitors
from storefront.models import Product
from storefront.panels import Card

register = template.Library()

CURRENCY = "$"
IN_MENU = 8  # departments that fit beside each other; the home page shows all of them


@register.filter
def money(cents: int) -> str:
    """1234 → $12.34"""
    return f"{CURRENCY}{cents // 100:,}.{cents % 100:02d}"


@register.simple_tag(takes_context=True)
def visitor(context: Context) -> visitors.Visitor:
    return visitors.of(context["request"])


@register.simple_tag
def main_departments() -> list[menu.Department]:
    return list(menu.departments().values())[:IN_MENU]


@register.simple_tag
def face(product: Product) -> SafeString:
    """A card's picture, name and price."""
    return _face(product_id=product.product_id, name=product.name, size=product.size, price_cents=product.price_cents)


@register.simple_tag
def acts(card: Card, panel_name: str, restored: bool) -> SafeString:
    """A card's buttons. ``restored``: an undone "not for me", which the keyboard's focus follows."""
    return _acts(
        product_id=card.product.product_id,
        name=card.product.name,
        can_be_bought=card.product.can_be_bought,
        in_cart=card.in_cart,
        may_dismiss=panel_name == "for_you" or bool(restored),
        restored=bool(restored),
    )


# A page of cards spent most of its time on these two. They depend on nothing but what they are called with, so they
# are never stale; of a whole catalogue they take some ten megabytes.
@lru_cache(maxsize=20_000)
def _face(**context: str | int) -> SafeString:
    return render_to_string("card_face.html", context)


@lru_cache(maxsize=20_000)
def _acts(**context: str | int) -> SafeString:
    return render_to_string("card_acts.html", context)


@register.simple_tag(takes_context=True)
def with_query(context: Context, **changes: Any) -> str:
    """This page's query string with these parameters changed, for sort and page links."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
