"""The database's address leads to nothing: what is still served, and what says so."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from storefront import outage, rounds
from storefront.models import Product
from storefront.tests.conftest import Slates

pytestmark = pytest.mark.django_db(transaction=True)


def nobody_there(*_: Any, **__: Any) -> Any:
    """In place of opening a connection: neither the file nor the server is there, and no pool holds a connection."""
    raise OperationalError("connection refused")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def go_away() -> None:
        connection.close()
        monkeypatch.setattr(connection, "get_new_connection", nobody_there)

    return go_away


@pytest.fixture(autouse=True)
def _something_to_show(slates: Slates) -> None:
    slates.put("for_you", ["p01"], source="popular")


def token_in(text: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    assert found
    return found.group(1)


@pytest.mark.parametrize("address", ["/", "/department/dairy/", "/department/dairy/milk/"])
def test_home_and_departments_are_served_from_their_last_good_copy(
    client: Client, shelf: list[Product], away: Callable[[], None], address: str
) -> None:
    assert "Aisle-Copy" not in client.get(address).headers
    away()
    for _ in range(2):  # once after asking the database, once without
        response = client.get(address)
        assert response.status_code == 200
        assert response.headers["Aisle-Copy"] == "the database is away"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Dairy" in response.content.decode()


@pytest.mark.parametrize("address", ["/product/p01/", "/cart/", "/search/?q=milk", "/department/dairy/?page=2", "/"])
def test_the_rest_is_a_helpful_503_with_a_time_to_try_again(
    client: Client, shelf: list[Product], away: Callable[[], None], address: str
) -> None:
    client.get("/why/")  # somebody read the menu
    away()
    for _ in range(2):
        response = client.get(address)
        text = response.content.decode()
        assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
        assert "Back in a moment" in text
        assert "/department/dairy/" in text


def test_forms_and_programs_are_told_too(client: Client, shelf: list[Product], away: Callable[[], None]) -> None:
    away()
    assert client.post("/cart/add/", {"product_id": "p01"}).status_code == 503
    response = client.get("/api/recommendations")
    assert (response.status_code, response.headers["Content-Type"]) == (503, "application/json")
    assert "try again" in response.json()["detail"]


def test_whoever_has_no_database_is_still_in_good_health(client: Client, away: Callable[[], None]) -> None:
    away()
    client.get("/product/p01/")
    assert client.get("/healthz").status_code == 200


def application(client: Client) -> rounds.Application:
    """This client's process, as a server knows it."""
    return lambda environ, _: client.handler(environ)


def test_the_rounds_leave_a_copy_of_what_nobody_looked_at(
    client: Client, shelf: list[Product], away: Callable[[], None]
) -> None:
    assert rounds.make(application(client), set())
    away()
    for address in ("/", "/department/dairy/", "/department/dairy/milk/"):
        response = client.get(address)
        assert (response.status_code, "Aisle-Copy" in response.headers) == (200, True)
        assert outage.PANEL in response.content


def test_rounds_come_again_for_the_panels_that_were_not_there_yet(
    client: Client, shelf: list[Product], slates: Slates, away: Callable[[], None]
) -> None:
    slates.given.clear()
    visited: set[str] = set()
    assert not rounds.make(application(client), visited)
    asked = len(slates.asked)
    assert not rounds.make(application(client), visited)
    assert len(slates.asked) == asked + 1  # by the home page alone
    slates.put("for_you", ["p01"], source="popular")
    assert rounds.make(application(client), visited)
    away()
    assert outage.PANEL in client.get("/department/dairy/").content


def test_rounds_are_made_in_production_too(
    client: Client, shelf: list[Product], away: Callable[[], None], settings: Any
) -> None:
    settings.ALLOWED_HOSTS = [".shop.example"]
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert rounds.make(application(client), set())
    away()
    response = client.get("/", headers={"Host": "www.shop.example", "X-Forwarded-Proto": "https"})
    assert (response.status_code, "Aisle-Copy" in response.headers) == (200, True)


def test_a_copy_with_a_panel_never_gives_way_to_one_without(
    client: Client, shelf: list[Product], slates: Slates, away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    slates.given.clear()
    client.get("/")
    slates.put("for_you", ["p01"], source="popular")
    client.get("/")  # at once, however young the other is
    slates.given.clear()
    monkeypatch.setattr(outage, "KEPT_SECONDS", 0.0)
    client.get("/")
    away()
    slates.put("for_you", ["p02"], source="popular")  # whose products only the database has
    response = client.get("/")
    assert "Aisle-Copy" in response.headers
    assert outage.PANEL in response.content


def test_one_request_at_a_time_finds_out(client: Client, shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes: the others are answered meanwhile."""
    monkeypatch.setattr(outage, "AWAY_SECONDS", 0.0)
    client.get("/")
    asked = []

    def nobody_for_long(*_: Any, **__: Any) -> Any:
        asked.append(1)
        if len(asked) == 2:  # while this one waits, another comes
            other = Client()
            other.handler = client.handler
            assert "Aisle-Copy" in other.get("/").headers
        raise OperationalError("connection refused")

    connection.close()
    monkeypatch.setattr(connection, "get_new_connection", nobody_for_long)
    for _ in range(2):
        client.get("/product/p01/")
    assert len(asked) == 2
    client.get("/product/p01/")
    assert len(asked) == 3


def test_it_is_over_when_it_is_over(
    client: Client, shelf: list[Product], away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "AWAY_SECONDS", 0.0)
    client.get("/")
    with monkeypatch.context() as patch:
        connection.close()
        patch.setattr(connection, "get_new_connection", nobody_there)
        assert "Aisle-Copy" in client.get("/").headers
    connection.close()
    monkeypatch.setattr(outage, "AWAY_SECONDS", 60.0)
    assert "Aisle-Copy" not in client.get("/").headers
    assert "Aisle-Copy" not in client.get("/").headers


def test_a_copy_carries_its_readers_token(client: Client, shelf: list[Product], away: Callable[[], None]) -> None:
    first = token_in(client.get("/").content.decode())
    other = Client()
    other.handler = client.handler  # the same process
    away()
    text = other.get("/").content.decode()
    assert first not in text
    assert token_in(text) not in (first, "")
    assert f'data-token="{token_in(text)}"' in text
    assert other.cookies["csrftoken"].value


def test_nobodys_own_page_becomes_a_copy(client: Client, shelf: list[Product], away: Callable[[], None]) -> None:
    client.post("/cart/add/", {"product_id": "p01"})
    client.get("/")
    away()
    assert client.get("/").status_code == 503


def test_memory_is_bounded(
    client: Client, shelf: list[Product], away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "COPIES", 1)
    client.get("/")
    client.get("/department/dairy/")
    away()
    assert client.get("/").status_code == 503
    assert client.get("/department/dairy/").status_code == 200


def test_a_statement_that_takes_too_long_closes_no_other_page(
    client: Client, shelf: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any, **__: Any) -> Any:
        Product.objects.count()
        raise OperationalError("canceling statement due to statement timeout")

    with monkeypatch.context() as patch:
        patch.setattr("storefront.panels.for_page", slow)
        assert client.get("/product/p01/").status_code == 503
    assert client.get("/product/p01/").status_code == 200
