"""Deleting an account: what goes, what stays, and to nobody's name."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from recommender import cache, keys, privacy
from storefront import tasks
from storefront.models import Account, Cart, CartLine, Order, Product
from storefront.tests.test_checkout import filled

pytestmark = pytest.mark.django_db
PASSWORD = "a long and quiet river"


@pytest.fixture
def ada(client: Client, django_user_model: Any, settings: Any, shelf: list[Product]) -> User:
    """Signed in, with a history, an order and something in the cart."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user: User = django_user_model.objects.create_user("ada", email="ada@example.com", password=PASSWORD)
    client.post("/account/sign-in/", {"username": "ada", "password": PASSWORD})
    client.post("/privacy/choose/", {"choice": "yes"})
    client.post("/checkout/", filled(client) | {"name": "Ada L", "address": "1 Long Lane", "email": "ada@example.com"})
    client.post("/cart/add/", {"product_id": "p02"})
    return user


def test_everything_goes_but_the_books(client: Client, ada: User) -> None:
    shopper_id = client.session["shopper_id"]
    cache.put([cache.Entry(keys.shopper(shopper_id), cache.Body("s", "m", "", {}), 0, 0)], deadline=0)
    response = client.post("/account/delete/", {"password": PASSWORD}, follow=True)
    assert "Your account is deleted" in response.content.decode()
    assert not User.objects.exists()
    assert not Account.objects.exists()
    assert not Cart.objects.exists()
    assert privacy.known(shopper_id) == {}
    assert privacy.counts(shopper_id) == {}
    order = Order.objects.get()
    assert (order.user_id, order.name, order.address, order.email) == (None, "", "", "")
    assert order.total_cents == 250
    assert order.lines.get().product_id == "p01"


def test_nothing_is_left_in_the_browser(client: Client, ada: User) -> None:
    response = client.post("/account/delete/", {"password": PASSWORD})
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert set(client.session.keys()) <= {"said"}
    assert client.cookies["viewed"].value == ""


def test_the_page_says_what_stays_and_why(client: Client, ada: User) -> None:
    text = client.get("/account/delete/").content.decode()
    assert "What stays, because the law" in text
    assert client.post("/account/delete/", {"password": "guess"}).status_code == 422
    assert User.objects.exists()


def test_an_orders_purchases_cannot_be_joined_to_it(client: Client, ada: User) -> None:
    """Baskets are exported: were one an order's number or key, an export would still tell whose it was."""
    order = Order.objects.get()
    (bought,) = [
        event for event in privacy.known(client.session["shopper_id"])["events"] if event["kind"] == "purchase"
    ]
    assert bought["basket"] not in ("", order.key, order.number)


def test_the_download_holds_account_orders_and_reasons(client: Client, ada: User) -> None:
    everything = json.loads(client.get("/privacy/export/").content)
    assert everything["account"]["email"] == "ada@example.com"
    (order,) = everything["orders"]
    assert (order["address"], order["lines"][0]["product_id"]) == ("1 Long Lane", "p01")
    assert everything["in_this_browser"]["cart"] == {"p02": 1}


@pytest.mark.parametrize("address", ["/", "/department/dairy/", "/product/p01/", "/cart/", "/why/", "/account/"])
def test_no_browser_keeps_a_signed_in_page(client: Client, ada: User, address: str) -> None:
    assert "no-store" in client.get(address).headers["Cache-Control"]


def test_a_strangers_page_may_be_gone_back_to_at_once(client: Client, shelf: list[Product]) -> None:
    assert "Cache-Control" not in client.get("/").headers
    assert "Vary" not in client.get("/art/p01.svg").headers


def test_guests_carts_are_forgotten_after_a_month_and_nobody_elses(client: Client, ada: User) -> None:
    old = timezone.now() - timedelta(days=tasks.GUEST_CART_DAYS, seconds=1)
    guest, recent = Cart.objects.create(touched=old), Cart.objects.create(touched=old)
    guest.add("p03", 1)
    Cart.objects.filter(pk=guest.pk).update(touched=old)
    recent.add("p03", 1)
    Cart.objects.filter(user=ada).update(touched=old)
    assert tasks.forget_guest_carts() == 1
    assert set(Cart.objects.values_list("pk", flat=True)) == {recent.pk, Cart.objects.get(user=ada).pk}
    assert CartLine.objects.filter(cart=recent).exists()
