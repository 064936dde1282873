"""What every page of the shop needs in its templates."""

from typing import Any

from django import template
from django.template import Context

from storefront import menu
from storefront import visitor as visitors

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


@register.simple_tag(takes_context=True)
def with_query(context: Context, **changes: Any) -> str:
    """This page's query string with these parameters changed, for sort and page links."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
