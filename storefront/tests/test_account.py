from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from recommender import events, privacy
from storefront.models import Account, Cart, CartLine, Product

pytestmark = pytest.mark.django_db
PASSWORD = "a long and quiet river"


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada(django_user_model: Any) -> User:
    user: User = django_user_model.objects.create_user("ada", password=PASSWORD)
    return user


def sign_in(client: Client, next_page: str = "") -> Any:
    return client.post("/account/sign-in/", {"username": "ada", "password": PASSWORD, "next": next_page})


def kinds(shopper_id: int) -> set[tuple[str, str]]:
    return {(line.kind, line.product_id) for line in events.history(shopper_id)}


def view(client: Client, product_id: str) -> None:
    client.post(
        "/api/events", {"events": [{"kind": "view", "product_id": product_id}]}, content_type="application/json"
    )


def test_signing_up_signs_in(client: Client) -> None:
    response = client.post(
        "/account/sign-up/", {"username": "bob", "password1": PASSWORD, "password2": PASSWORD}, follow=True
    )
    text = response.content.decode()
    assert "Signed in as bob" in text
    assert Account.objects.get().shopper_id is None


def test_a_weak_password_is_refused_with_its_reason(client: Client) -> None:
    response = client.post("/account/sign-up/", {"username": "bob", "password1": "12345678", "password2": "12345678"})
    assert response.status_code == 422
    assert "too common" in response.content.decode()


def test_a_wrong_password_does_not_say_which_part_is_wrong(client: Client, ada: User) -> None:
    response = client.post("/account/sign-in/", {"username": "ada", "password": "guess"})
    assert response.status_code == 422
    assert "correct username and password" in response.content.decode()
    assert "_auth_user_id" not in client.session


def test_signing_in_leads_back_to_where_one_was_going_but_to_no_other_site(ada: User) -> None:
    assert sign_in(Client(), "/account/orders/").headers["Location"] == "/account/orders/"
    assert sign_in(Client(), "https://evil.example/").headers["Location"] == "/"
    assert Client().get("/account/orders/").headers["Location"] == "/account/sign-in/?next=/account/orders/"


def test_signing_in_brings_the_visitors_cart_along(client: Client, ada: User, shelf: list[Product]) -> None:
    Cart.objects.create(user=ada).add("p01", 1)
    client.post("/cart/add/", {"product_id": "p01", "quantity": "2"})
    client.post("/cart/add/", {"product_id": "p02"})
    sign_in(client)
    assert dict(CartLine.objects.filter(cart__user=ada).values_list("product_id", "quantity")) == {"p01": 3, "p02": 1}
    assert Cart.objects.count() == 1


def test_a_users_cart_is_there_on_the_next_device(ada: User, shelf: list[Product]) -> None:
    one, other = Client(), Client()
    sign_in(one)
    one.post("/cart/add/", {"product_id": "p01"})
    sign_in(other)
    assert "Product p01" in other.get("/cart/").content.decode()


def test_a_first_account_takes_the_consented_history_over(
    client: Client, ada: User, shelf: list[Product], shopper: int
) -> None:
    view(client, "p01")
    sign_in(client)
    assert Account.objects.get(user=ada).shopper_id == shopper == client.session["shopper_id"]
    assert kinds(shopper) == {("view", "p01")}


def test_a_later_sign_in_merges_the_consented_history(
    client: Client, ada: User, shelf: list[Product], shopper: int
) -> None:
    (own,) = privacy.join()
    Account.objects.create(user=ada, shopper_id=own)
    view(client, "p01")
    sign_in(client)
    assert client.session["shopper_id"] == own
    assert kinds(own) == {("view", "p01")}
    assert kinds(shopper) == set()


def test_without_consent_nothing_is_merged(client: Client, ada: User, shelf: list[Product]) -> None:
    (own,) = privacy.join()
    Account.objects.create(user=ada, shopper_id=own)
    view(client, "p01")
    sign_in(client)
    assert kinds(own) == set()


def test_an_account_that_opted_out_stays_so_on_every_device(
    client: Client, ada: User, shelf: list[Product], shopper: int
) -> None:
    (own,) = privacy.join()
    privacy.opt_out(own)
    Account.objects.create(user=ada, shopper_id=own)
    view(client, "p01")
    sign_in(client)
    assert client.session["consent"] == "no"
    assert kinds(own) == kinds(shopper) == set()


def test_changing_accounts_carries_nothing_over(
    client: Client, ada: User, shelf: list[Product], django_user_model: Any
) -> None:
    django_user_model.objects.create_user("bob", password=PASSWORD)
    sign_in(client)
    client.post("/privacy/choose/", {"choice": "yes"})
    view(client, "p01")
    client.post("/cart/add/", {"product_id": "p02"})
    client.post("/account/sign-in/", {"username": "bob", "password": PASSWORD})
    assert Account.objects.get(user__username="bob").shopper_id is None
    assert client.session["shopper_id"] is None
    text = client.get("/cart/").content.decode() + client.get("/privacy/").content.decode()
    assert "Product p01" not in text
    assert "Product p02" not in text


def test_an_old_cookie_cannot_take_somebodys_shopper_over(
    client: Client, ada: User, django_user_model: Any, shopper: int
) -> None:
    Account.objects.create(user=django_user_model.objects.create_user("bob"), shopper_id=shopper)
    sign_in(client)
    assert Account.objects.get(user=ada).shopper_id is None
    assert privacy.is_in(shopper)


def test_signing_out_leaves_nothing_in_the_browser(
    client: Client, ada: User, shelf: list[Product], shopper: int
) -> None:
    sign_in(client)
    view(client, "p01")
    client.post("/cart/add/", {"product_id": "p02"})
    client.post("/not-for-me/", {"product_id": "p03"})
    client.post("/account/sign-out/")
    assert dict(client.session) == {}
    assert client.cookies["viewed"].value == ""
    text = client.get("/cart/").content.decode() + client.get("/privacy/").content.decode()
    assert not any(name in text for name in ("Product p01", "Product p02", "Product p03"))
    assert "May we remember" in text


def test_consent_of_a_signed_in_shopper_is_the_accounts(client: Client, ada: User) -> None:
    sign_in(client)
    client.post("/privacy/choose/", {"choice": "yes"})
    shopper_id = Account.objects.get(user=ada).shopper_id
    assert shopper_id == client.session["shopper_id"]
    other = Client()
    sign_in(other)
    assert (other.session["shopper_id"], other.session["consent"]) == (shopper_id, "yes")
