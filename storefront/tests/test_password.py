"""Changing and resetting the password, and what that ends."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from recommender import events, privacy
from storefront import password, tasks
from storefront.models import Account, Cart, Product

pytestmark = pytest.mark.django_db
OLD, NEW = "a long and quiet river", "a short and noisy brook"


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mailed_at_once(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The task runs where it is asked for; a worker has nothing to do with what it does."""
    asked: list[Any] = []

    def at_once(args: tuple[str, str, bool], **_: Any) -> None:
        asked.append(args)
        tasks.send_reset(*args)

    monkeypatch.setattr(tasks.send_reset, "apply_async", at_once)
    return asked


@pytest.fixture
def ada(django_user_model: Any) -> User:
    user: User = django_user_model.objects.create_user("ada", email="ada@example.com", password=OLD)
    return user


def signed_in(with_password: str = OLD) -> Client:
    client = Client()
    response = client.post("/account/sign-in/", {"username": "ada", "password": with_password})
    assert response.status_code == 302
    return client


def change(client: Client, old: str = OLD) -> Any:
    return client.post("/account/password/", {"old_password": old, "new_password1": NEW, "new_password2": NEW})


def with_a_past(client: Client) -> int:
    client.post("/privacy/choose/", {"choice": "yes"})
    client.post("/cart/add/", {"product_id": "p01"})
    return int(client.session["shopper_id"])


def everywhere(client: Client) -> Any:
    return client.post("/account/sign-out-everywhere/", {"password": OLD})


@pytest.mark.parametrize("end", [change, everywhere])
def test_every_other_session_opens_nothing_any_more(ada: User, shelf: list[Product], end: Any) -> None:
    here = signed_in()
    old = with_a_past(here)
    stolen = Client()
    stolen.cookies.update(here.cookies)
    assert "Product p01" in stolen.get("/cart/").content.decode()
    assert end(here).headers["Location"] == "/account/"
    # Without a query: the ids in the cookie are nobody's.
    assert privacy.known(old) == {}
    assert events.history(old) == []
    assert "Product p01" not in stolen.get("/cart/").content.decode()
    # With one: the session itself ends.
    for address in ("/account/", "/account/orders/", "/account/password/"):
        assert stolen.get(address).headers["Location"].startswith("/account/sign-in/")
    text = stolen.get("/privacy/").content.decode() + stolen.get("/privacy/export/").content.decode()
    assert "p01" not in text
    assert "ada" not in text


@pytest.mark.parametrize("end", [change, everywhere])
def test_a_stolen_session_does_not_find_the_new_cart(ada: User, shelf: list[Product], end: Any) -> None:
    here = signed_in()
    with_a_past(here)
    stolen = Client()
    stolen.cookies.update(here.cookies)
    end(here)
    stolen.post("/cart/add/", {"product_id": "p02"})
    assert list(Cart.objects.get(user=ada).lines.values_list("product_id", flat=True)) == ["p01"]


@pytest.mark.parametrize("end", [change, everywhere])
def test_this_session_goes_on_with_its_cart_and_history(ada: User, shelf: list[Product], end: Any) -> None:
    here = signed_in()
    old = with_a_past(here)
    end(here)
    assert "Product p01" in here.get("/cart/").content.decode()
    new = here.session["shopper_id"]
    assert new != old
    assert new == Account.objects.get(user=ada).shopper_id
    assert privacy.is_in(new)
    assert [line.product_id for line in events.history(new)] == ["p01"]
    assert here.get("/account/").status_code == 200


def test_who_opted_out_stays_so(ada: User, shelf: list[Product]) -> None:
    here = signed_in()
    with_a_past(here)
    here.post("/privacy/choose/", {"choice": "no"})
    everywhere(here)
    shopper_id = Account.objects.get(user=ada).shopper_id
    assert shopper_id is not None
    assert not privacy.is_in(shopper_id)
    assert "Product p01" in here.get("/privacy/").content.decode()


def test_the_old_password_opens_nothing_after_a_change(ada: User) -> None:
    change(signed_in())
    signed_in(NEW)
    assert Client().post("/account/sign-in/", {"username": "ada", "password": OLD}).status_code == 422


@pytest.mark.parametrize("address", ["/account/password/", "/account/sign-out-everywhere/", "/account/delete/"])
def test_an_open_session_is_no_password(ada: User, address: str) -> None:
    here = signed_in()
    wrong = {"password": "guess", "old_password": "guess", "new_password1": NEW, "new_password2": NEW}
    answers = [here.post(address, wrong).status_code for _ in range(password.CHECKS.most + 1)]
    assert answers == [422] * password.CHECKS.most + [429]
    ada.refresh_from_db()
    assert ada.check_password(OLD)


def test_a_demo_shopper_has_no_password_to_be_asked_for(ada: User) -> None:
    here = signed_in()
    ada.set_unusable_password()
    ada.save()
    here.force_login(ada)
    assert here.post("/account/sign-out-everywhere/").headers["Location"] == "/account/"
    assert here.get("/account/").status_code == 200


def test_a_link_sets_a_new_password_once_and_ends_other_sessions(
    ada: User, shelf: list[Product], mailed_at_once: list[Any], client: Client
) -> None:
    there = signed_in()
    with_a_past(there)
    client.post("/account/password/forgotten/", {"email": "ADA@example.com"})
    (sent,) = mail.outbox
    assert sent.to == ["ada@example.com"]
    (link,) = re.findall(r"http://testserver(/\S+)", str(sent.body))
    form = client.get(link, follow=True)
    address = form.redirect_chain[-1][0]
    assert "set-password" in address  # the token has left the address bar
    answer = client.post(address, {"new_password1": NEW, "new_password2": NEW}, follow=True)
    assert "Your password is changed" in answer.content.decode()
    signed_in(NEW)
    assert there.get("/account/").status_code == 302
    assert "Product p01" not in there.get("/cart/").content.decode()
    assert "works no more" in Client().get(link, follow=True).content.decode()


def test_the_answer_does_not_tell_whether_somebody_has_the_address(
    ada: User, client: Client, mailed_at_once: list[Any]
) -> None:
    answers = [
        client.post("/account/password/forgotten/", {"email": email}).content.decode().replace(email, "…")
        for email in ("ada@example.com", "eve@example.com")
    ]
    tokens = re.compile(r"[A-Za-z0-9]{64}")
    assert tokens.sub("", answers[0]) == tokens.sub("", answers[1])
    assert len(mailed_at_once) == 2  # the page does the same work for both
    assert len(mail.outbox) == 1


def test_nobodys_mailbox_is_filled(ada: User, client: Client, mailed_at_once: list[Any]) -> None:
    for _ in range(password.RESETS_TO.most + 2):
        assert client.post("/account/password/forgotten/", {"email": "ada@example.com"}).status_code == 200
    assert len(mail.outbox) == password.RESETS_TO.most
    for _ in range(password.RESETS_FROM.most):
        answer = client.post("/account/password/forgotten/", {"email": "bob@example.com"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "3600"


def test_without_a_broker_the_page_says_so(ada: User, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(tasks.send_reset, "apply_async", away)
    assert client.post("/account/password/forgotten/", {"email": "ada@example.com"}).status_code == 503


def test_guessing_is_slowed_down_and_others_are_not(ada: User, client: Client) -> None:
    guess = {"username": "ada", "password": "guess"}
    for _ in range(10):
        assert client.post("/account/sign-in/", guess).status_code == 422
    answer = client.post("/account/sign-in/", {"username": "ada", "password": OLD})
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    elsewhere = Client(REMOTE_ADDR="10.0.0.2")
    assert elsewhere.post("/account/sign-in/", {"username": "ada", "password": OLD}).status_code == 302


def test_who_signs_in_often_is_no_guesser(ada: User) -> None:
    for _ in range(25):
        signed_in()
