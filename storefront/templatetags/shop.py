"""What every page of the shop needs in its templates. Whatever many pages share is a fragment: see fragments.py."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from storefront import menu, panels
from storefront import visitor as visitors
from storefront.art import address as addressed
from storefront.fragments import KEPT, Fragment, fragment, made
from storefront.models import Label, OnCard, Product

register = template.Library()

CURRENCY = "$"
NOTHING = SafeString("")


@register.filter
def money(cents: int) -> str:
    """1234 → $12.34"""
    return f"{CURRENCY}{cents // 100:,}.{cents % 100:02d}"


@register.simple_tag
def art(product: Product | OnCard | Label) -> str:
    """Where its picture is."""
    return addressed(product if isinstance(product, Label) else product.label)


@register.simple_tag(takes_context=True)
def visitor(context: Context) -> visitors.Visitor:
    return visitors.of(context["request"])


@register.simple_tag
def unchanging(name: str) -> SafeString:
    """A template that is the same on every page."""
    return fragment(name).fill()


@register.simple_tag(takes_context=True)
def masthead(context: Context) -> SafeString:
    """The top of every page, up to the departments."""
    who = visitors.of(context["request"])
    there, count = context.get("department"), who.cart_count
    found = fragment(
        "masthead.html", "query", "csrf_token", "name", *(("count",) if count else ()),
        is_signed_in=who.is_signed_in, consent=who.consent,
        departments=menu.named(), here=there.slug if there else "",
    )  # fmt: skip
    return found.fill(query=context.get("query") or "", csrf_token=who.token, name=who.name, count=count)


@register.simple_tag(takes_context=True)
def consent(context: Context) -> SafeString:
    """The banner, until the visitor chooses."""
    request = context["request"]
    who = visitors.of(request)
    if who.consent:
        return NOTHING
    return fragment("consent.html", "csrf_token", "next").fill(csrf_token=who.token, next=request.get_full_path())


@register.simple_tag
def departments() -> SafeString:
    """All of them, each with a picture."""
    shown = tuple((one.name, one.slug, one.sample, one.count) for one in menu.departments().values())
    return fragment("departments_section.html", departments=shown).fill()


@register.simple_tag(takes_context=True)
def panel(context: Context, shown: panels.Panel | None) -> SafeString:
    """A panel, or nothing where there is none."""
    if not shown:
        return NOTHING
    request, slate = context["request"], shown.slate
    polls = ("poll", "delay") if shown.poll else ()
    found = fragment(
        "panel_section.html", "title", "slate_id", "model_version", "arm", "source", "csrf_token", "next", "cards",
        *polls, *(("others",) if shown.others else ()), name=shown.name, note=shown.note,
    )  # fmt: skip
    return found.fill(
        title=shown.title, slate_id=slate.slate_id, model_version=slate.model_version, arm=slate.arm,
        source=slate.source, csrf_token=visitors.of(request).token, next=request.get_full_path(),
        cards=_cards(shown.cards, shown.name, shown.reasoned), others=shown.others, poll=shown.poll, delay=shown.delay,
    )  # fmt: skip


@register.simple_tag
def cards(shown: Sequence[panels.Card], restored: bool = False) -> SafeString:
    """Cards that stand in no panel. ``restored``: an undone "not for me", which the keyboard's focus follows."""
    return _cards(shown, "card", bool(restored), bool(restored))


def _cards(shown: Sequence[panels.Card], name: str, reasoned: bool, restored: bool = False) -> SafeString:
    panel = SafeString(name)
    return SafeString("".join([_card(card, panel, reasoned, restored) for card in shown]))


def _card(card: panels.Card, panel: SafeString, reasoned: bool, restored: bool) -> SafeString:
    product = card.product
    found = _blank(
        product[:8] if isinstance(product, OnCard) else (*product.label, product.price_cents),
        product.can_be_bought, card.in_cart, bool(card.position), reasoned, restored or panel == "for_you", restored,
    )  # fmt: skip
    # Where a reason may come later, its place says meanwhile where the product stands: no hole, and nothing moves.
    return found.fill(panel=panel, position=card.position, because=card.because or product.category)


@lru_cache(maxsize=KEPT)
def _blank(
    told: tuple[Any, ...],
    can_be_bought: bool,
    in_cart: int,
    placed: bool,
    reasoned: bool,
    may_dismiss: bool,
    restored: bool,
) -> Fragment:
    """A card of what is ``told`` of a product (its label, its price), but for its panel, position and reason."""
    return made(
        "card.html", "panel", *(("position",) if placed else ()), *(("because",) if reasoned else ()),
        product=Label._make(told[:7]), price_cents=told[7], can_be_bought=can_be_bought, in_cart=in_cart,
        may_dismiss=may_dismiss, restored=restored,
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def with_query(context: Context, **changes: Any) -> str:
    """This page's query string with these parameters changed, for sort and page links."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
