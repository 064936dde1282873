"""From cart to order, as a guest or signed in. The payment is a pretence and says so."""

import re
import secrets

from django import forms
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from storefront import account, orders
from storefront import visitor as visitors
from storefront.cart import contents
from storefront.models import Cart, Order
from storefront.visitor import Visitor

SESSION_ENDED = (
    "Your session ended while you were here. Nothing is lost: the cart is back. Please look at it and order again."
)
SIGN_IN_AGAIN = "You were signed out while you were ordering. Nothing is lost: sign in, and your cart is there."
UNEXPECTED = "The form did not come as this page sends it. Please look at the order and try again."
KEY = re.compile(r"[0-9a-f]{32}\Z")


class CheckoutForm(forms.Form):
    name = forms.CharField(
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": "Whose order is it? A made-up name will do."},
    )
    address = forms.CharField(
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "street-address"}),
        help_text="Nothing is sent: this shop is a demonstration.",
        error_messages={"required": "Where would it go? A made-up address will do."},
    )
    email = forms.EmailField(
        required=False,
        label="Email (optional)",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text="Only kept with the order.",
        error_messages={"invalid": "An address looks like name@example.com. You can leave it out, too."},
    )
    key = forms.RegexField(KEY, widget=forms.HiddenInput, error_messages={"invalid": "Please try again."})
    shown_cents = forms.IntegerField(min_value=0, max_value=2_000_000_000, widget=forms.HiddenInput)
    # Which cart the form was made for, signed: should the session be gone when it comes back, the cart is not.
    cart = forms.CharField(max_length=200, required=False, widget=forms.HiddenInput)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    account.end_if_revoked(request)
    if request.method == "POST":
        return _place(request)
    return _page(request, None, status=200)


@never_cache
@require_safe
def order(request: HttpRequest, number: str) -> HttpResponse:
    """A guest's order opens to whoever knows its number, which cannot be guessed; a user's to that user alone."""
    account.end_if_revoked(request)
    found = get_object_or_404(Order.objects.prefetch_related("lines"), number=number)
    if found.user_id is not None and found.user_id != request.user.pk:
        raise Http404("There is no such order.")
    return render(request, "order.html", {"order": found})


def _place(request: HttpRequest) -> HttpResponse:
    visitor = visitors.of(request)
    form = CheckoutForm(request.POST)
    lost = None if visitor.cart else _lost_cart(request.POST.get("cart", ""), request.POST.get("key", ""))
    if lost is not None:
        return _found_again(request, visitor, form, lost)
    if not form.is_valid():
        unseen = {"key", "shown_cents"} & form.errors.keys()
        return _page(request, form, status=422, problem=UNEXPECTED if unseen else "")
    given = form.cleaned_data
    try:
        placed = orders.place(
            visitor.open_cart(),
            key=given["key"],
            shown_cents=given["shown_cents"],
            recipient=orders.Recipient(name=given["name"], address=given["address"], email=given["email"]),
            user_id=request.user.pk,
            shopper_id=visitor.shopper_id,
        )
    except orders.NotPlaced as problem:
        return _page(request, form, status=409, problem=str(problem))
    return redirect(placed)


def _lost_cart(signed: str, key: str) -> Cart | None:
    """The cart that a form was made for, if something lies in it; None once the form has become an order."""
    try:
        cart_id = signing.loads(signed, salt="checkout")
    except signing.BadSignature:
        return None
    if Order.objects.filter(key=key).exists():
        return None
    return Cart.objects.filter(pk=cart_id, lines__isnull=False).first()


def _found_again(request: HttpRequest, visitor: Visitor, form: CheckoutForm, cart: Cart) -> HttpResponse:
    """A form came whose session has ended meanwhile."""
    if cart.user_id is not None:
        visitor.session["said"] = SIGN_IN_AGAIN
        return redirect_to_login(request.path, "sign_in")
    visitor.session["cart"] = cart.pk
    visitor.forget_cart_lines()
    return _page(request, form, status=409, problem=SESSION_ENDED)


def _page(request: HttpRequest, form: CheckoutForm | None, status: int, problem: str = "") -> HttpResponse:
    cart = contents(visitors.of(request))
    if not cart.lines:
        return redirect("cart")
    # The key and the total are always new: what was shown now is what the next click agrees to.
    context = {
        "form": form or CheckoutForm(),
        "key": secrets.token_hex(16),
        "signed_cart": signing.dumps(visitors.of(request).cart_id, salt="checkout"),
        "cart": cart,
        "problem": problem,
    }
    return render(request, "checkout.html", context, status=status)
