"""Accounts: signing up, in and out, the orders of the past, and the end of an account."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import login, logout
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from recommender import privacy
from storefront import errors
from storefront import visitor as visitors
from storefront.limits import Limit, address
from storefront.models import Account, Cart, Order

if TYPE_CHECKING:
    UserCreationBase = UserCreationForm[User]
else:
    UserCreationBase = UserCreationForm  # takes no types at run time, its stubs want them

ORDERS_SHOWN = 50
# Whoever guesses one password from one place is stopped soon; from many places, or at many names, later, because
# those limits also stop people who did nothing: everybody behind one address, or whoever has the name.
TRIES = Limit("sign-ins with a name from an address", most=10, seconds=600)
TRIES_OF_NAME = Limit("sign-ins with a name", most=100, seconds=3600)
TRIES_FROM = Limit("sign-ins from an address", most=200, seconds=3600)


class SignUpForm(UserCreationBase):
    email = forms.EmailField(
        required=False,
        label="Email (optional)",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text="Only to let you set a new password, should you forget this one.",
    )

    class Meta(UserCreationForm.Meta):
        fields = ("username", "email")
        help_texts = {"username": "Letters, digits and @ . + - _"}  # noqa: RUF012 - Django's own shape


def for_the_signed_in(
    view: Callable[[HttpRequest, User], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """The view gets the user, asked of the database: a session that was revoked ends here."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        end_if_revoked(request)
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), "sign_in")
        return view(request, request.user)

    return guarded


def end_if_revoked(request: HttpRequest) -> None:
    """Before anything personal is shown or done: is who signed in still so? Otherwise nothing of the session stays."""
    if visitors.of(request).is_signed_in and not request.user.is_authenticated:
        request.session.flush()
        request.session["said"] = "You were signed out. What was in your account’s cart is still there."


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    form = AuthenticationForm(request, data=request.POST or None)
    if request.method == "POST":
        name, place = request.POST.get("username", "").lower(), address(request)
        spent = [TRIES.exceeded(name, place), TRIES_OF_NAME.exceeded(name), TRIES_FROM.exceeded(place)]
        if any(spent):
            return errors.too_many(request, TRIES.seconds)
    if request.method == "POST" and form.is_valid():
        TRIES.clear(name, place)
        enter(request, form.get_user())
        return redirect(_next(request))
    return _form_page(request, "sign_in.html", form)


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST or None)
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
@for_the_signed_in
def page(request: HttpRequest, user: User) -> HttpResponse:
    return render(request, "account.html", {"orders": Order.objects.filter(user=user).count()})


@never_cache
@require_safe
@for_the_signed_in
def orders(request: HttpRequest, user: User) -> HttpResponse:
    found = Order.objects.filter(user=user).prefetch_related("lines").order_by("-placed")
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
    if guest_cart is not None:
        Cart.objects.get_or_create(user=user)[0].take_over(guest_cart)
    remember(request, account)
    request.session["name"] = account.household or user.get_username()
    request.session["consent"] = choice


def remember(request: HttpRequest, account: Account) -> None:
    """Put into the session by which ids its pages know this account, so that they need not ask for it."""
    request.session["cart"] = Cart.objects.get_or_create(user=account.user)[0].pk
    request.session["shopper_id"] = account.shopper_id
    visitors.of(request).forget_cart_lines()


def renew(user: User) -> Account:
    """New ids for the account's shopper and cart; see password.py."""
    with transaction.atomic():
        account = Account.objects.select_for_update().get_or_create(user=user)[0]
        if account.shopper_id is not None:
            account.shopper_id = privacy.renew(account.shopper_id)
            account.save(update_fields=["shopper_id"])
        old = Cart.objects.filter(user=user).first()
        new = Cart.objects.create()
        if old is not None:
            new.take_over(old)
        new.user = user
        new.save(update_fields=["user"])
    return account


def close(user: User) -> None:
    """The end of an account: history, cart and sign-in are gone. What was sold stays on the books, to nobody's name."""
    with transaction.atomic():
        account = Account.objects.filter(user=user).first()
        if account is not None and account.shopper_id is not None:
            privacy.erase(account.shopper_id)
        Order.objects.filter(user=user).update(name="", address="", email="", user=None)
        user.delete()


def leave(request: HttpRequest, response: HttpResponse) -> None:
    """Sign out and leave nothing in this browser: no cart, no history, no choice made, no page to go back to."""
    logout(request)
    response.delete_cookie(visitors.VIEWED, samesite="Lax")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'  # not "cookies": those of neighbouring sites would go


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
