"""Placing an order: one transaction that sells only what is there, once, however often it is asked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F

from recommender import events
from storefront.models import Cart, CartLine, Order, OrderLine, Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    name: str
    address: str
    email: str = ""


class NotPlaced(Exception):
    """Nothing was sold. The message is for the shopper."""


def place(
    cart: Cart, *, key: str, shown_cents: int, recipient: Recipient, user_id: int | None, shopper_id: int | None
) -> Order:
    """The order of this cart; the same ``key`` again returns the order that it made the first time.

    ``shown_cents`` is the total that the shopper saw and agreed to. Raises NotPlaced.
    """
    with transaction.atomic():
        # Taking the cart first makes its orders queue up: a second click, or a second tab, finds what the first did.
        if not Cart.objects.select_for_update().filter(pk=cart.pk).exists():
            raise NotPlaced("Your cart is empty.")
        return Order.objects.filter(key=key).first() or _place(cart, key, shown_cents, recipient, user_id, shopper_id)


def _place(
    cart: Cart, key: str, shown_cents: int, recipient: Recipient, user_id: int | None, shopper_id: int | None
) -> Order:
    # In the order of product_id, so that two orders that share products lock them alike and never wait in a ring.
    lines = list(cart.lines.select_related("product").order_by("product_id"))
    if not lines:
        raise NotPlaced("Your cart is empty.")
    total = sum(line.product.price_cents * line.quantity for line in lines)
    order = Order.objects.create(
        key=key,
        user_id=user_id,
        name=recipient.name,
        address=recipient.address,
        email=recipient.email,
        total_cents=total,
    )
    _take_from_stock(lines)
    if total != shown_cents:
        raise NotPlaced("A price changed while you were ordering. Please look at the new total before you order.")
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            product=line.product,
            name=line.product.name,
            price_cents=line.product.price_cents,
            quantity=line.quantity,
        )
        for line in lines
    )
    cart.lines.filter(pk__in=[line.pk for line in lines]).delete()
    if shopper_id is not None:
        # In this transaction: a process that is killed leaves both, the order and what is learnt of it, or neither.
        events.record(shopper_id, _purchases(order, lines))
    return order


def _take_from_stock(lines: Sequence[CartLine]) -> None:
    """The condition and the change are one statement, so of two buyers of the last one exactly one succeeds."""
    gone = [
        line.product.name
        for line in lines
        if not Product.objects.visible()
        .filter(product_id=line.product_id, stock__gte=line.quantity)
        .update(stock=F("stock") - line.quantity, popularity=F("popularity") + line.quantity)
    ]
    if gone:
        raise NotPlaced(f"There is no longer enough of: {', '.join(gone)}. Please change your cart.")


def _purchases(order: Order, lines: Sequence[CartLine]) -> list[events.NewEvent]:
    # Drawn here and kept nowhere else: an order's own number would join a history that was forgotten, in an export
    # made before, to the name on the order.
    basket = secrets.token_hex(16)
    return [
        events.NewEvent(
            product_id=line.product_id,
            kind="purchase",
            quantity=line.quantity,
            basket=basket,
            key=f"order:{order.pk}:{line.product_id}",
        )
        for line in lines
    ]
