"""Changing, resetting and re-salting the password: each ends every other session of the account.

A session is a signed cookie that no server remembers, so it is revoked by making what it says untrue. Its hash of
the password no longer matches on any page that asks who signed in (orders, checkout, privacy, account). Pages that
ask nobody, so as to cost no query, know the shopper and the cart by ids that stand in the cookie: those are renewed,
and the old ones open nothing. A copy of one browser's cookie therefore outlives that browser's "sign out", and ends
here.
"""

from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from storefront import account, errors, tasks
from storefront import visitor as visitors
from storefront.limits import Limit, address

RESETS_FROM = Limit("resets from an address", most=10, seconds=3600)
RESETS_TO = Limit("resets to an address", most=3, seconds=3600)  # nobody's mailbox is filled from here
CHECKS = Limit("password checks", most=10, seconds=600)  # of an open session: whoever sits down at it may not guess


class PasswordForm(forms.Form):
    """Asks whoever is signed in for the password once more; of a demo shopper, who has none, nothing."""

    password = forms.CharField(strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise forms.ValidationError("That is not your password.")
        return password


class EmailForm(forms.Form):
    email = forms.EmailField(widget=forms.EmailInput(attrs={"autocomplete": "email"}))


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@account.for_the_signed_in
def change(request: HttpRequest, user: User) -> HttpResponse:
    form = PasswordChangeForm(user, request.POST or None)
    if request.method == "POST" and CHECKS.exceeded(str(user.pk)):
        return errors.too_many(request, CHECKS.seconds)
    if request.method == "POST" and form.is_valid():
        form.save()
        _begin_again(request, user)
        visitors.of(request).session["said"] = "Your password is changed, and every other device is signed out."
        return redirect("account")
    return render(request, "password_change.html", {"form": form}, status=422 if form.is_bound else 200)


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@account.for_the_signed_in
def sign_out_everywhere(request: HttpRequest, user: User) -> HttpResponse:
    form = PasswordForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and CHECKS.exceeded(str(user.pk)):
        return errors.too_many(request, CHECKS.seconds)
    if request.method == "POST" and form.is_valid():
        # The same password, salted anew: what the sessions hold is a hash of the salted one.
        user.set_password(form.cleaned_data.get("password"))
        user.save(update_fields=["password"])
        _begin_again(request, user)
        visitors.of(request).session["said"] = "Every other device is signed out."
        return redirect("account")
    return render(request, "sign_out_everywhere.html", {"form": form}, status=422 if form.is_bound else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """The answer is the same, and takes the same time, whether somebody has this address or not."""
    form = EmailForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if RESETS_FROM.exceeded(address(request)):
            return errors.too_many(request, RESETS_FROM.seconds)
        email = form.cleaned_data["email"]
        if not RESETS_TO.exceeded(email.lower()):
            try:
                tasks.send_reset.apply_async((email, request.get_host(), request.is_secure()), expires=3600)
            except Exception as error:  # the broker's client raises its own, its transport's and its socket's errors
                return errors.unavailable(request, error)
        return render(request, "password_sent.html", {"email": email})
    return render(request, "password_forgotten.html", {"form": form}, status=422 if form.is_bound else 200)


class NewPassword(PasswordResetConfirmView):
    """Django's own: the link works once, for three days, and its token leaves the address bar at once."""

    template_name = "password_new.html"
    success_url = reverse_lazy("sign_in")

    def form_valid(self, form: "SetPasswordForm[User]") -> HttpResponse:
        response = super().form_valid(form)
        account.renew(form.user)
        self.request.session["said"] = "Your password is changed. Please sign in with the new one."
        return response


def _begin_again(request: HttpRequest, user: User) -> None:
    renewed = account.renew(user)
    update_session_auth_hash(request, user)
    account.remember(request, renewed)
