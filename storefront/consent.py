"""The visitor's choice about personalisation, and everything that may be done with what the shop remembers."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from recommender import events, privacy
from storefront import account, feedback, panels
from storefront import visitor as visitors
from storefront.models import Account, OnCard, Order, Product
from storefront.visitor import VIEWED, Visitor

LINES_SHOWN = 200  # of the history, on the page; the export holds all of it
KINDS = {  # in the shopper's words, one and many
    "view": ("looked at", "looked at {} times"),
    "cart": ("put in the cart", "put in the cart {} times"),
    "purchase": ("bought", "bought {} times"),
    "dismiss": ("not for me", "not for me"),
    "impression": ("shown", "shown"),
    "click": ("clicked", "clicked"),
    "restore": ("taken back", "taken back"),
}


@dataclass(slots=True)
class Line:
    """One product of a history: what was done with it, and when last."""

    product_id: str
    time: datetime
    product: Product | None
    acts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Cause:
    """One product of a history, and what is recommended because of it more than of anything else."""

    product: Product
    led_to: list[Product | OnCard]


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """The banner's two buttons, and the switch on the privacy page."""
    account.end_if_revoked(request)
    visitor = visitors.of(request)
    wanted = request.POST.get("next", "")
    response = redirect(wanted if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else "privacy")
    if request.POST.get("choice") == "yes":
        _accept(visitor)
    else:
        _refuse(visitor, response)
    return response


@never_cache
@require_safe
def privacy_page(request: HttpRequest) -> HttpResponse:
    account.end_if_revoked(request)
    visitor = visitors.of(request)
    products = Product.objects.in_bulk({*visitor.viewed, *visitor.dismissed})
    context = {
        "history": _lines(visitor.known_as) if visitor.known_as is not None else [],
        "counts": _counted(visitor.known_as) if visitor.known_as is not None else [],
        "viewed": [products[product_id] for product_id in visitor.viewed if product_id in products],
        "dismissed": [products[product_id] for product_id in visitor.dismissed if product_id in products],
    }
    return render(request, "privacy.html", context)


@never_cache
@require_safe
def why(request: HttpRequest) -> HttpResponse:
    """How recommendations are made, and what put this shopper's own where they are."""
    visitor = visitors.of(request)
    panel = panels.for_page(visitor, ["for_you"]).get("for_you")
    causes = _causes(panel) if panel and panel.slate.source in panels.PERSONAL else []
    return render(request, "why.html", {"panel": panel, "causes": causes})


@never_cache
@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """Everything that the shop remembers of this shopper, for the shopper."""
    account.end_if_revoked(request)
    visitor = visitors.of(request)
    everything = {
        "account": _account(request),
        "consent": visitor.consent or "not chosen",
        "in_this_browser": {"viewed": visitor.viewed, "not_for_me": visitor.dismissed, "cart": visitor.cart},
        "remembered": privacy.known(visitor.known_as) if visitor.known_as is not None else None,
        "orders": _orders(request),
    }
    text = json.dumps(everything, indent=2, cls=DjangoJSONEncoder)
    return HttpResponse(
        text,
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="my-data.json"'},
    )


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Delete the history. The choice stays as it is: to delete is not to opt out."""
    account.end_if_revoked(request)
    visitor = visitors.of(request)
    if visitor.known_as is not None:
        privacy.forget(visitor.known_as)
    for name in ("dismissed", "visit"):
        visitor.session.pop(name, None)
    visitor.session["said"] = "Your history is deleted."
    response = redirect("privacy")
    response.delete_cookie(VIEWED, samesite="Lax")
    return response


@require_POST
def forget_product(request: HttpRequest) -> HttpResponse:
    """Delete one product from the history, and from what this browser keeps."""
    account.end_if_revoked(request)
    visitor = visitors.of(request)
    product_id = feedback.product_id_of(request)
    if visitor.known_as is not None:
        privacy.forget_product(visitor.known_as, product_id)
    visitor.undo_dismiss(product_id)
    product = Product.objects.filter(product_id=product_id).first()
    visitor.session["said"] = f"{product.name if product else product_id} is out of your history."
    wanted = request.POST.get("next", "")
    response = redirect(wanted if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else "privacy")
    visitor.did_not_see(product_id, response)
    return response


def _lines(shopper_id: int) -> list[Line]:
    known = events.history(shopper_id, LINES_SHOWN)
    products = Product.objects.in_bulk({line.product_id for line in known})
    lines: dict[str, Line] = {}
    for one in known:  # newest first
        line = lines.setdefault(one.product_id, Line(one.product_id, one.time, products.get(one.product_id)))
        line.acts.append(KINDS[one.kind][one.count > 1].format(one.count))
    return list(lines.values())


def _counted(shopper_id: int) -> list[tuple[str, int]]:
    counts = privacy.counts(shopper_id)
    return [(KINDS[kind][0], counts[kind]) for kind in KINDS if kind in counts]


def _causes(panel: panels.Panel) -> list[Cause]:
    """Of the products that the panel shows; each has one cause, the greatest of its contributions."""
    because = panel.slate.because
    found = Product.objects.in_bulk({why for why in because.values() if why})
    causes: dict[str, Cause] = {}
    for card in panel.cards:
        cause = found.get(because[card.product.product_id] or "")
        if cause is not None:
            causes.setdefault(cause.product_id, Cause(cause, [])).led_to.append(card.product)
    return list(causes.values())


def _account(request: HttpRequest) -> dict[str, str] | None:
    user = request.user
    if not user.is_authenticated:
        return None
    return {"name": user.get_username(), "email": user.email, "since": user.date_joined.isoformat()}


def _orders(request: HttpRequest) -> list[dict[str, Any]]:
    if not request.user.is_authenticated:
        return []
    found = Order.objects.filter(user=request.user).prefetch_related("lines").order_by("-placed")
    return [
        {
            "number": order.number,
            "placed": order.placed,
            "name": order.name,
            "address": order.address,
            "email": order.email,
            "total_cents": order.total_cents,
            "lines": [
                {"product_id": line.product_id, "name": line.name, "quantity": line.quantity, "cents": line.price_cents}
                for line in order.lines.all()
            ],
        }
        for order in found
    ]


def _accept(visitor: Visitor) -> None:
    """Storing starts here, with what this browser has kept until now: the banner says so."""
    if visitor.known_as is None:
        shopper_id = privacy.join()[0]
        visitor.session["shopper_id"] = shopper_id
        if visitor.is_signed_in:
            Account.objects.filter(user_id=visitor.session["_auth_user_id"]).update(shopper_id=shopper_id)
    else:
        privacy.opt_in(visitor.known_as)
    viewed = visitor.viewed
    visitor.session["consent"] = "yes"
    kept = [("view", product_id) for product_id in reversed(viewed)]
    kept += [("dismiss", product_id) for product_id in visitor.dismissed]
    visitor.record(
        [events.NewEvent(product_id=product_id, kind=kind, basket=visitor.visit) for kind, product_id in kept]
    )


def _refuse(visitor: Visitor, response: HttpResponse) -> None:
    if visitor.known_as is not None:
        privacy.opt_out(visitor.known_as)
    visitor.session["consent"] = "no"
    visitor.session.pop("visit", None)
    response.delete_cookie(VIEWED, samesite="Lax")
