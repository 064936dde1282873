"""What the shop does behind its pages."""

from datetime import timedelta

from celery import shared_task
from django.contrib.auth.forms import PasswordResetForm
from django.utils import timezone

from storefront.models import Cart

GUEST_CART_DAYS = 30  # twice as long as a browser keeps the cookie that knows it


@shared_task
def send_reset(email: str, host: str, secure: bool) -> None:
    """Mail a link to whoever has this address. Here and not in the page, whose time would tell whether somebody does.

    Should the task run twice, there are two mails, and both links work once.
    """
    form = PasswordResetForm({"email": email})
    if form.is_valid():
        form.save(
            domain_override=host,
            use_https=secure,
            subject_template_name="mail/reset_subject.txt",
            email_template_name="mail/reset.txt",
        )


@shared_task
def forget_guest_carts() -> int:
    """Delete guests' carts that nobody touched for a month; returns how many."""
    old = Cart.objects.filter(user=None, touched__lt=timezone.now() - timedelta(days=GUEST_CART_DAYS))
    return old.delete()[1].get("storefront.Cart", 0)
