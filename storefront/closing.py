"""Deleting one's account."""

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from storefront import account, errors
from storefront import visitor as visitors
from storefront.password import CHECKS, PasswordForm


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@account.for_the_signed_in
def close(request: HttpRequest, user: User) -> HttpResponse:
    form = PasswordForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and CHECKS.exceeded(str(user.pk)):
        return errors.too_many(request, CHECKS.seconds)
    if request.method == "POST" and form.is_valid():
        account.close(user)
        response = redirect("home")
        account.leave(request, response)
        visitors.of(request).session["said"] = "Your account is deleted, and all that we knew of you."
        return response
    return render(request, "account_close.html", {"form": form}, status=422 if form.is_bound else 200)
