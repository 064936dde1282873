"""A form's token: another on each page, good as long as the browser's cookie, which is sent once."""

import re

import pytest
from django.test import Client

from storefront.models import Product

pytestmark = pytest.mark.django_db

COOKIE = "csrftoken"


@pytest.fixture
def browser(shelf: list[Product]) -> Client:
    return Client(enforce_csrf_checks=True)


def token_on(browser: Client, address: str = "/") -> str:
    found = re.search(r'data-token="(\w{64})"', browser.get(address).content.decode())
    assert found
    return found.group(1)


def is_good(browser: Client, token: str) -> bool:
    response = browser.post("/cart/add/", {"product_id": "p01", "csrfmiddlewaretoken": token})
    assert response.status_code in (302, 403)
    return response.status_code == 302


def test_each_page_has_a_token_of_its_own_and_all_of_them_are_good(browser: Client) -> None:
    tokens = [token_on(browser) for _ in range(9)]
    assert all(is_good(browser, token) for token in tokens)
    assert all(len(set(letters)) > 1 for letters in zip(*tokens, strict=True))  # BREACH: nothing stands still
    assert not any(browser.cookies[COOKIE].value in token for token in tokens)


def test_the_cookie_is_sent_with_the_first_page_alone(browser: Client) -> None:
    assert COOKIE in browser.get("/").cookies
    for _ in range(2):
        again = browser.get("/")
        assert COOKIE not in again.cookies
        assert "Cookie" in again.headers["Vary"]  # the page is this browser's, whether or not a cookie goes with it


def test_a_token_is_of_no_use_to_another_browser(browser: Client) -> None:
    other = Client(enforce_csrf_checks=True)
    token_on(other)
    assert not is_good(other, token_on(browser))


def test_a_damaged_cookie_is_replaced(browser: Client) -> None:
    browser.cookies[COOKIE] = "damaged"
    assert is_good(browser, token_on(browser))
    assert len(browser.cookies[COOKIE].value) == 32


def test_signing_up_ends_the_tokens_of_before(browser: Client) -> None:
    before = token_on(browser)
    password = "a long and quiet river"
    form = {"username": "ada", "password1": password, "password2": password, "csrfmiddlewaretoken": before}
    assert browser.post("/account/sign-up/", form).status_code == 302
    assert not is_good(browser, before)
    assert is_good(browser, token_on(browser))
