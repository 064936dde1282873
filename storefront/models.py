"""What the shop sells, what lies in carts and what was ordered. Money is whole cents, never a float."""

import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from ml.contract import MAX_TEXT

# Ids stand in addresses, /product/<product_id>/, so they hold what an address holds unescaped.
is_product_id = RegexValidator(r"\A[A-Za-z0-9._~-]+\Z", "An id is made of letters, digits and . _ ~ - only.")
MAX_QUANTITY = 20  # of one product in one cart: a household's shopping, not a wholesaler's
MAX_LINES = 100  # of one cart


class ProductQuerySet(models.QuerySet["Product"]):
    def visible(self) -> Self:
        return self.filter(hidden=False)

    def in_stock(self) -> Self:
        return self.filter(stock__gt=0)

    def in_order(self, ids: Iterable[str]) -> "list[Product]":
        """The products of these ids, in the order of the ids, in one query. Ids that nothing bears are skipped."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return []
        found = {product.product_id: product for product in self.filter(product_id__in=wanted)}
        return [found[product_id] for product_id in wanted if product_id in found]


def bare_name(product: "Label | OnCard") -> str:
    """The name without the brand and the size at its ends, which have places of their own."""
    bare = product.name.removeprefix(product.brand).strip().removesuffix(product.size)
    return bare.rstrip(" ,") or product.name


class Label(NamedTuple):
    """What the catalogue says of a product: all that its picture depends on."""

    product_id: str
    name: str
    department: str
    category: str
    type: str
    brand: str
    size: str

    @property
    def bare_name(self) -> str:
        return bare_name(self)


class OnCard(NamedTuple):
    """What a card shows of a product, and whether it may be shown. Begins as ``Label`` does."""

    product_id: str
    name: str
    department: str
    category: str
    type: str
    brand: str
    size: str
    price_cents: int
    stock: int
    hidden: bool

    @property
    def label(self) -> Label:
        return Label._make(self[:7])

    def get_absolute_url(self) -> str:
        return reverse("product", args=[self.product_id])

    @property
    def can_be_bought(self) -> bool:
        return self.stock > 0 and not self.hidden


class Product(models.Model):
    product_id = models.CharField(max_length=MAX_TEXT, primary_key=True, validators=[is_product_id])
    name = models.CharField(max_length=200)
    department = models.CharField(max_length=MAX_TEXT)
    category = models.CharField(max_length=MAX_TEXT)
    type = models.CharField(max_length=MAX_TEXT, blank=True)
    brand = models.CharField(max_length=MAX_TEXT, blank=True)
    size = models.CharField(max_length=MAX_TEXT, blank=True)
    price_cents = models.PositiveIntegerField()
    stock = models.PositiveIntegerField(default=0)
    hidden = models.BooleanField(default=False)  # a product that was once sold is hidden, never deleted
    popularity = models.PositiveIntegerField(default=0)  # units sold, for the sort order only
    created = models.DateTimeField(auto_now_add=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(price_cents__gte=0), name="product_price_not_negative"),
            # The last guard against selling what is not there; checkout's conditional update is the first.
            models.CheckConstraint(condition=Q(stock__gte=0), name="product_stock_not_negative"),
        )
        # The order in which storefront.index reads the catalogue; listings then ask by key alone.
        indexes = (
            models.Index(fields=["-popularity", "product_id"], condition=Q(hidden=False), name="product_popular"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("product", args=[self.product_id])

    @property
    def label(self) -> Label:
        return Label(self.product_id, self.name, self.department, self.category, self.type, self.brand, self.size)

    @property
    def can_be_bought(self) -> bool:
        return self.stock > 0 and not self.hidden


class Cart(models.Model):
    """A visitor's cart is known by its id in their signed session cookie, a signed-in shopper's by ``user``."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="cart")
    touched = models.DateTimeField(default=timezone.now)  # a guest's cart is forgotten some time after its last change

    class Meta:
        indexes = (models.Index(fields=["touched"], condition=Q(user=None), name="guest_carts"),)

    def __str__(self) -> str:
        return f"cart {self.pk}"

    def add(self, product_id: str, quantity: int) -> int:
        """Put more of a product in; returns how many lie there now: never past MAX_QUANTITY, 0 if the cart is full."""
        return self._set(product_id, lambda there: there + quantity)

    def put(self, product_id: str, quantity: int) -> int:
        """Make it exactly this many of a product; 0 takes it out. Returns as ``add`` does."""
        return self._set(product_id, lambda there: quantity)

    def _set(self, product_id: str, wanted: Callable[[int], int]) -> int:
        with transaction.atomic():
            locked = Cart.objects.select_for_update().get(pk=self.pk)  # so that two clicks at one moment count as two
            locked.touched = timezone.now()
            locked.save(update_fields=["touched"])
            line = self.lines.filter(product_id=product_id).first()
            quantity = min(wanted(line.quantity if line else 0), MAX_QUANTITY)
            if quantity <= 0:
                self.lines.filter(product_id=product_id).delete()
                return 0
            if line is None and self.lines.count() >= MAX_LINES:
                return 0
            line = line or CartLine(cart=self, product_id=product_id)
            line.quantity = quantity
            line.save()
            return quantity

    def take_over(self, other: "Cart") -> None:
        """Everything in the other cart moves here, and the other cart is gone."""
        with transaction.atomic():
            for line in other.lines.all():
                self.add(line.product_id, line.quantity)
            other.delete()


class CartLine(models.Model):
    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField(default=1)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["cart", "product"], name="one_line_for_a_product_in_a_cart"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY), name="cart_quantity_in_bounds"
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"

    @property
    def total_cents(self) -> int:
        return self.product.price_cents * self.quantity


def new_number() -> str:
    """An order's public number. A guest has nothing else to show for an order, so it must not be guessable."""
    return secrets.token_hex(10).upper()


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "placed", "Placed"
        SENT = "sent", "On its way"

    number = models.CharField(max_length=20, unique=True, default=new_number, editable=False)
    key = models.CharField(max_length=64, unique=True)  # of the checkout form: the same form twice is one order
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="orders")
    name = models.CharField(max_length=120)
    address = models.CharField(max_length=300)
    email = models.EmailField(blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PLACED)
    total_cents = models.PositiveIntegerField()
    placed = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (models.Index(fields=["user", "-placed"], name="orders_of_a_user"),)

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.number])


class OrderLine(models.Model):
    """Name and price are those of the moment of sale: a later change to the product does not rewrite a receipt."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    price_cents = models.PositiveIntegerField()
    quantity = models.PositiveSmallIntegerField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(quantity__gte=1), name="order_quantity_positive"),)

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def total_cents(self) -> int:
        return self.price_cents * self.quantity


class Account(models.Model):
    """What the shop knows of a user beyond their sign-in. ``shopper_id`` is recommender's, null without consent."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="account")
    shopper_id = models.BigIntegerField(null=True, unique=True)
    is_demo = models.BooleanField(default=False)
    household = models.CharField(max_length=120, blank=True)  # a demo shopper's label

    class Meta:
        indexes = (models.Index(fields=["id"], condition=Q(is_demo=True), name="demo_accounts"),)

    def __str__(self) -> str:
        return self.household or str(self.user)
