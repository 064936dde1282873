"""The cart's page and its buttons. Each button is a plain form; htmx only saves the page load."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
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
    return render(request, "cart.html", {"cart": contents(visitor), "panels": shown, "most": MAX_QUANTITY})


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    product = get_object_or_404(Product.objects.visible(), product_id=feedback.product_id_of(request))
    quantity = _quantity(request, least=1)
    there = visitor.cart.get(product.product_id, 0)
    if product.stock <= there:
        return _answer(request, visitor, f"{product.name} is sold out.", product)
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
    """One line's quantity; "remove" is the quantity 0."""
    visitor = visitors.of(request)
    if visitor.cart:
        visitor.open_cart().put(feedback.product_id_of(request), _quantity(request, least=0))
        visitor.forget_cart_lines()
    if request.headers.get("HX-Request"):
        return render(request, "cart_contents.html", {"cart": contents(visitor), "most": MAX_QUANTITY, "swapped": True})
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


def _quantity(request: HttpRequest, least: int) -> int:
    """From the form, brought into what a cart takes; 1 for what is no number."""
    text = request.POST.get("quantity", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    return min(max(number, least), MAX_QUANTITY)


def _answer(request: HttpRequest, visitor: Visitor, message: str, product: Product) -> HttpResponse:
    if request.headers.get("HX-Request"):
        there = visitor.cart.get(product.product_id, 0)
        answer = render(request, "cart_added.html", {"message": message})
        return trigger_client_event(answer, "in-cart", {"product_id": product.product_id, "quantity": there})
    visitor.session["said"] = message  # the next page says it once
    return redirect(feedback.back_of(request, product))
