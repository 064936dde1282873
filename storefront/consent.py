"""The visitor's choice about personalisation, and everything that may be done with what the shop remembers."""

import json

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from recommender import events, privacy
from storefront import visitor as visitors
from storefront.models import Account, Product
from storefront.visitor import VIEWED, Visitor

LINES_SHOWN = 100  # of the history, on the page; the export holds all of it


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """The banner's two buttons, and the switch on the privacy page."""
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
    visitor = visitors.of(request)
    known = events.history(visitor.known_as, LINES_SHOWN) if visitor.known_as is not None else []
    ids = {*(line.product_id for line in known), *visitor.viewed, *visitor.dismissed}
    products = Product.objects.in_bulk(ids)
    context = {
        "history": [(line, products.get(line.product_id)) for line in known],
        "viewed": [products[product_id] for product_id in visitor.viewed if product_id in products],
        "dismissed": [products[product_id] for product_id in visitor.dismissed if product_id in products],
    }
    return render(request, "privacy.html", context)


@never_cache
@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """Everything that the shop remembers of this shopper, for the shopper."""
    visitor = visitors.of(request)
    everything = {
        "consent": visitor.consent or "not chosen",
        "in_this_browser": {"viewed": visitor.viewed, "not_for_me": visitor.dismissed, "cart": visitor.cart},
        "remembered": privacy.known(visitor.known_as) if visitor.known_as is not None else None,
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
    visitor = visitors.of(request)
    if visitor.known_as is not None:
        privacy.forget(visitor.known_as)
    for name in ("dismissed", "visit"):
        visitor.session.pop(name, None)
    visitor.session["said"] = "Your history is deleted."
    response = redirect("privacy")
    response.delete_cookie(VIEWED, samesite="Lax")
    return response


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
