"""What a shopper says of a product: "not for me", "take that back", and, without JavaScript, "I looked at this"."""

from typing import TypedDict

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from ml.contract import MAX_TEXT
from recommender import events
from storefront import visitor as visitors
from storefront.models import Product, is_product_id
from storefront.panels import Card
from storefront.visitor import VIEWED

LONGEST_ARM = 63  # characters, as of a SageMaker variant's name


class Stamps(TypedDict):
    slate_id: str
    model_version: str
    arm: str


@require_POST
def dismiss(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    product = get_object_or_404(Product, product_id=product_id_of(request))
    visitor.dismiss(product.product_id)
    if visitor.shopper_id is not None:
        stamps = stamps_of(request.POST)
        visitor.record([events.NewEvent(product_id=product.product_id, kind="dismiss", basket=visitor.visit, **stamps)])
    context = {"product": product, "back": back_of(request, product)}
    whole = not request.headers.get("HX-Request")
    return render(request, "dismissed.html" if whole else "dismissed_card.html", context)


@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    product = get_object_or_404(Product, product_id=product_id_of(request))
    visitor.undo_dismiss(product.product_id)
    if visitor.shopper_id is not None:
        events.undo_dismiss(visitor.shopper_id, product.product_id)
    if request.headers.get("HX-Request"):
        return render(request, "cards.html", {"cards": [Card(product)], "restored": True})
    return redirect(back_of(request, product))


@require_POST
def looked_at(request: HttpRequest) -> HttpResponse:
    """The form for browsers without JavaScript, whose views nothing reports."""
    visitor = visitors.of(request)
    product = get_object_or_404(Product.objects.visible(), product_id=product_id_of(request))
    response = redirect(product)
    visitor.saw(product.product_id, response)
    if visitor.shopper_id is not None:
        visitor.record([events.NewEvent(product_id=product.product_id, kind="view", basket=visitor.visit)])
    return response


@require_POST
def clear_looked_at(request: HttpRequest) -> HttpResponse:
    """Empty this browser's list. What is remembered with consent is deleted where it is shown, under privacy."""
    visitor = visitors.of(request)
    more = " What else we remember is under “Privacy and your data”." if visitor.shopper_id is not None else ""
    visitor.session["said"] = f"The list is empty.{more}"
    wanted = request.POST.get("next", "")
    response = redirect(wanted if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else "home")
    response.delete_cookie(VIEWED, samesite="Lax")
    return response


def product_id_of(request: HttpRequest) -> str:
    product_id = request.POST.get("product_id", "")
    try:
        is_product_id(product_id)
    except ValidationError:
        raise Http404("There is no such product.") from None
    return product_id


def stamps_of(form: QueryDict) -> Stamps:
    """Which slate a button stood in, as the page was told; kept for the statistics and trusted for nothing else."""
    return Stamps(
        slate_id=form.get("slate_id", "").replace("\0", "")[:MAX_TEXT],
        model_version=form.get("model_version", "").replace("\0", "")[:MAX_TEXT],
        arm=form.get("arm", "").replace("\0", "")[:LONGEST_ARM],
    )


def back_of(request: HttpRequest, product: Product) -> str:
    """The page of ours that a form was sent from, else the product's."""
    wanted = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if ours else product.get_absolute_url()
