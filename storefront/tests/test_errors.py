"""Pages that help when something went wrong, and JSON for programs."""

from typing import Any

import pytest
from django.test import Client, RequestFactory

from storefront.limits import Limit, address
from storefront.models import Product
from storefront.tests.conftest import refuse

pytestmark = pytest.mark.django_db


def test_what_is_not_there_still_sells(client: Client, shelf: list[Product]) -> None:
    response = client.get("/nowhere/")
    text = response.content.decode()
    assert response.status_code == 404
    assert "Search the shop" in text
    assert "/department/dairy/" in text


def test_a_fault_of_ours_leads_on(shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.get("/")
    monkeypatch.setattr("storefront.panels.for_page", lambda *_, **__: 1 / 0)
    response = client.get("/product/p01/")
    text = response.content.decode()
    assert response.status_code == 500
    assert "Something broke on our side" in text
    assert "/department/dairy/" in text


@pytest.mark.parametrize(("address", "status"), [("/api/nothing", 404), ("/api/nothing/at/all/", 404)])
def test_programs_get_json(client: Client, address: str, status: int) -> None:
    response = client.get(address)
    assert response.status_code == status
    assert response.json()["detail"]


def test_programs_get_json_of_a_fault_too(shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storefront.panels.for_page", lambda *_: 1 / 0)
    response = Client(raise_request_exception=False).get("/api/recommendations")
    assert (response.status_code, response.headers["Content-Type"]) == (500, "application/json")


def test_a_stale_form_leads_back_to_the_cart() -> None:
    response = Client(enforce_csrf_checks=True).post("/cart/add/", {"product_id": "p01"})
    assert response.status_code == 403
    assert 'href="/cart/"' in response.content.decode()


def test_a_limit_counts_each_alone_and_starts_anew(client: Client) -> None:
    limit = Limit("test", most=2, seconds=60)
    assert [limit.exceeded("ada") for _ in range(4)] == [False, False, True, True]
    assert not limit.exceeded("bob")
    limit.clear("ada")
    assert not limit.exceeded("ada")


def test_without_redis_nobody_is_shut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.Connection.send_command", refuse)
    limit = Limit("test", most=0, seconds=60)
    assert not limit.exceeded("ada")
    limit.clear("ada")


def test_the_address_is_the_one_that_our_proxy_saw(client: Client, settings: Any) -> None:
    request = RequestFactory().get("/", headers={"X-Forwarded-For": "1.1.1.1, 2.2.2.2"}, REMOTE_ADDR="3.3.3.3")
    assert address(request) == "3.3.3.3"  # on one's own machine there is no proxy, and anybody may claim anything
    for proxies, seen in ((1, "2.2.2.2"), (2, "1.1.1.1"), (3, "1.1.1.1")):
        settings.NUM_PROXIES = proxies
        assert address(request) == seen
    assert address(RequestFactory().get("/", REMOTE_ADDR="3.3.3.3")) == "3.3.3.3"  # past the proxies, from within


def test_an_empty_cart_leads_somewhere(client: Client) -> None:
    assert "Have a look around" in client.get("/cart/").content.decode()
