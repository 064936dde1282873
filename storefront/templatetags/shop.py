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
    return _face(product.product_id, product.name, product.size, product.price_cents)


# Half of what a page of cards costs is these few lines. They depend on nothing but what they are called with, so
# they are never stale; a catalogue of cards is some ten megabytes.
@lru_cache(maxsize=20_000)
def _face(product_id: str, name: str, size: str, price_cents: int) -> SafeString:
    context = {"product_id": product_id, "name": name, "size": size, "price_cents": price_cents}
    return render_to_string("card_face.html", context)


@register.simple_tag(takes_context=True)
def with_query(context: Context, **changes: Any) -> str:
    """This page's query string with these parameters changed, for sort and page links."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
