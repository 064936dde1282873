"""The cart's page and its buttons. Each button is a plain form; htmx only saves the page load."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from recommender import events
from storefront import feedback, panels
from storefront import visitor as visitors
from storefront.models import MAX_LINES, MAX_QUANTITY, CartLine, Product
from storefront.visitor import Visitor


@dataclass(frozen=True, slots=True)
class Contents:
    lines: list[CartLine]
    total_cents: int
    problems: list[str]  # what stands between this cart and an order, in the shopper's words


@require_safe
def cart(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    shown = panels.for_page(visitor, ["complete", "for_you"])
    removed = _taken_out(visitor, visitor.session.pop("removed")) if "removed" in visitor.session else None
    return render(request, "cart.html", {**_context(visitor), "panels": shown, "removed": removed})


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    product = get_object_or_404(Product.objects.visible(), product_id=feedback.product_id_of(request))
    quantity = _quantity(request, least=1)
    there = visitor.cart.get(product.product_id, 0)
    if product.stock <= there:
        return _answer(request, visitor, _no_more(product, there), product)
    lie = visitor.open_cart().add(product.product_id, min(quantity, product.stock - there))
    visitor.forget_cart_lines()
    if lie == 0:
        return _answer(request, visitor, f"Your cart is full: it holds {MAX_LINES} different products.", product)
    if lie == there:
        return _answer(request, visitor, f"{lie} is the most we sell of one product at a time.", product)
    event = events.NewEvent(
        product_id=product.product_id,
        kind="cart",
        quantity=lie - there,
        basket=visitor.visit if visitor.shopper_id else "",
        **feedback.stamps_of(request.POST),
    )
    visitor.record([event])
    return _answer(request, visitor, f"{product.name} is in your cart.", product)


@require_POST
def update(request: HttpRequest) -> HttpResponse:
    """One line's quantity: set, or stepped from what the form shows. 0 takes the product out; undo puts it back."""
    visitor = visitors.of(request)
    product = get_object_or_404(Product, product_id=feedback.product_id_of(request))
    wanted, message, removed = _quantity(request, least=0), "", None
    held = visitor.cart.get(product.product_id, 0)
    if wanted == 0:
        removed = _taken_out(visitor, f"{product.product_id} {held}") if held else None
    elif wanted > product.stock or not product.can_be_bought:
        wanted, message = (product.stock, _no_more(product, product.stock)) if product.can_be_bought else (held, "")
    if held or wanted:
        visitor.open_cart().put(product.product_id, wanted)
        visitor.forget_cart_lines()
    message = message or (f"{product.name}: {wanted} in your cart." if wanted else f"{product.name} is taken out.")
    if request.headers.get("HX-Request"):
        changed = {**_context(visitor), "removed": removed, "message": message, "swapped": True}
        return render(request, "cart_contents.html", changed)
    visitor.session["said"] = message
    if removed:
        visitor.session["removed"] = f"{product.product_id} {held}"
    return redirect("cart")


def contents(visitor: Visitor) -> Contents:
    lines = list(CartLine.objects.filter(cart_id=visitor.cart_id).select_related("product").order_by("pk"))
    problems = []
    for line in lines:
        if not line.product.can_be_bought:
            problems.append(f"{line.product.name} is sold out. Please remove it.")
        elif line.product.stock < line.quantity:
            problems.append(f"Only {line.product.stock} left of {line.product.name}.")
    return Contents(lines, sum(line.quantity * line.product.price_cents for line in lines), problems)


def _context(visitor: Visitor) -> dict[str, Any]:
    return {"cart": contents(visitor), "most": MAX_QUANTITY}


def _taken_out(visitor: Visitor, note: str) -> CartLine | None:
    """The line that was removed, to be offered back; None if nobody could buy it."""
    product_id, quantity = note.split()
    product = Product.objects.filter(product_id=product_id).first()
    if product is None or not product.can_be_bought:
        return None
    return CartLine(product=product, quantity=int(quantity))


def _no_more(product: Product, there: int) -> str:
    return (
        f"There are only {there} of {product.name}: beyond these it is sold out."
        if there
        else f"{product.name} is sold out."
    )


def _quantity(request: HttpRequest, least: int) -> int:
    """From the form, brought into what a cart takes; 1 for what is no number. Its buttons − and + say ``step``."""
    text = request.POST.get("quantity", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    step = {"less": -1, "more": 1}.get(request.POST.get("step", ""), 0)
    return min(max(number + step, least), MAX_QUANTITY)


def _answer(request: HttpRequest, visitor: Visitor, message: str, product: Product) -> HttpResponse:
    """The page stays; only its count and a message change, and what else shows the cart: its page, or the drawer."""
    if not request.headers.get("HX-Request"):
        visitor.session["said"] = message  # the next page says it once
        return redirect(feedback.back_of(request, product))
    there = visitor.cart.get(product.product_id, 0)
    on_its_page = urlsplit(request.headers.get("HX-Current-URL", "")).path == reverse("cart")
    wants_drawer = "drawer" in request.POST
    context = {"message": message, "on_its_page": on_its_page, "drawer": wants_drawer}
    if on_its_page or wants_drawer:
        context |= _context(visitor)
    answer = render(request, "cart_added.html", context)
    return trigger_client_event(answer, "in-cart", {"product_id": product.product_id, "quantity": there})
