"""Accounts: signing up, in and out, and the orders of the past."""

from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from recommender import privacy
from storefront import visitor as visitors
from storefront.models import Account, Cart, Order

ORDERS_SHOWN = 50


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    form = AuthenticationForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        enter(request, form.get_user())
        return redirect(_next(request))
    return _form_page(request, "sign_in.html", form)


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    form: UserCreationForm[User] = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        enter(request, form.save())
        return redirect(_next(request))
    return _form_page(request, "sign_up.html", form)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    response = redirect("home")
    leave(request, response)
    return response


@never_cache
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), "sign_in")
    found = Order.objects.filter(user=request.user).prefetch_related("lines").order_by("-placed")
    return render(request, "orders.html", {"orders": found[:ORDERS_SHOWN]})


def enter(request: HttpRequest, user: User) -> None:
    """Sign this user in; what the visitor did before, in this browser, becomes the user's.

    The cart always, the history only as far as the visitor consented. Whether the shop personalises is then the
    account's choice, made once on whatever device, and not this browser's.
    """
    if visitors.of(request).is_signed_in:
        logout(request)  # what one account did must never become another's
    visitor = visitors.of(request)
    guest_cart = Cart.objects.filter(pk=visitor.cart_id, user=None).first()
    guest, choice = visitor.shopper_id, visitor.consent
    account = Account.objects.get_or_create(user=user)[0]
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    _join_histories(account, guest)
    if account.shopper_id is not None:
        choice = "yes" if privacy.is_in(account.shopper_id) else "no"
    cart = Cart.objects.get_or_create(user=user)[0]
    if guest_cart is not None:
        cart.take_over(guest_cart)
    request.session["cart"] = cart.pk
    request.session["name"] = account.household or user.get_username()
    request.session["shopper_id"] = account.shopper_id
    request.session["consent"] = choice
    visitor.forget_cart_lines()


def leave(request: HttpRequest, response: HttpResponse) -> None:
    """Sign out and leave nothing in this browser: no cart, no history, no choice made."""
    logout(request)
    response.delete_cookie(visitors.VIEWED, samesite="Lax")


def _join_histories(account: Account, guest: int | None) -> None:
    # An old copy of a cookie may name a shopper that has become somebody's account since.
    if guest is None or guest == account.shopper_id or Account.objects.filter(shopper_id=guest).exists():
        return
    if account.shopper_id is None:
        account.shopper_id = guest
        account.save(update_fields=["shopper_id"])
    else:
        privacy.merge(guest, into=account.shopper_id)


def _form_page(request: HttpRequest, template: str, form: Any) -> HttpResponse:
    status = 422 if form.is_bound else 200
    return render(request, template, {"form": form, "next": _next(request)}, status=status)


def _next(request: HttpRequest) -> str:
    """Where the visitor was going, if that is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return wanted if wanted and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else "/"
