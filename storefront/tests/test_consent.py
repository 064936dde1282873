import json

import pytest
from django.test import Client

from recommender import events, privacy
from storefront.models import Product
from storefront.tests.conftest import Slates

pytestmark = pytest.mark.django_db


def report(client: Client, kind: str, product_id: str) -> int:
    body = {"events": [{"kind": kind, "product_id": product_id}]}
    accepted: int = client.post("/api/events", body, content_type="application/json").json()["accepted"]
    return accepted


def seen(shopper_id: int) -> list[tuple[str, str]]:
    return [(line.kind, line.product_id) for line in events.history(shopper_id)]


def test_before_the_choice_views_live_in_the_browser_alone(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    assert report(client, "view", "p01") == 0
    assert report(client, "view", "p02") == 0
    client.get("/")
    assert slates.asked[-1]["viewed"] == ("p02", "p01")
    assert slates.asked[-1]["shopper_id"] is None
    assert "shopper_id" not in client.session
    cookie = client.cookies["viewed"]
    assert cookie["httponly"]
    assert cookie["max-age"] == ""  # until the browser is closed


def test_the_browser_keeps_the_last_twelve(client: Client, shelf: list[Product]) -> None:
    for product in shelf[:15]:
        report(client, "view", product.product_id)
    report(client, "view", "p10")
    ids = client.cookies["viewed"].value.split(":")[0].split("!")
    assert ids == ["p10", "p15", "p14", "p13", "p12", "p11", "p09", "p08", "p07", "p06", "p05", "p04"]


def test_a_tampered_cookie_is_no_cookie(client: Client, shelf: list[Product], slates: Slates) -> None:
    client.cookies["viewed"] = "p01!p02:forged"
    assert client.get("/").status_code == 200
    assert slates.asked[-1]["viewed"] == ()


def test_the_banner_asks_until_answered_and_blocks_nothing(client: Client, shelf: list[Product]) -> None:
    assert "May we remember" in client.get("/").content.decode()
    response = client.post("/privacy/choose/", {"choice": "no", "next": "/department/dairy/"})
    assert response.headers["Location"] == "/department/dairy/"
    assert "May we remember" not in client.get("/").content.decode()


def test_storing_starts_with_consent_from_the_last_few_products_on(client: Client, shelf: list[Product]) -> None:
    report(client, "view", "p01")
    report(client, "view", "p02")
    client.post("/not-for-me/", {"product_id": "p03"})
    client.post("/privacy/choose/", {"choice": "yes"})
    shopper_id = client.session["shopper_id"]
    assert set(seen(shopper_id)) == {("view", "p01"), ("view", "p02"), ("dismiss", "p03")}
    assert report(client, "view", "p04") == 1
    assert ("view", "p04") in seen(shopper_id)


def test_after_a_no_nothing_is_personal_and_nothing_is_kept(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    report(client, "view", "p01")
    client.post("/privacy/choose/", {"choice": "no"})
    report(client, "view", "p02")
    client.get("/")
    assert slates.asked[-1]["viewed"] == ()
    assert client.cookies["viewed"].value == ""
    assert "shopper_id" not in client.session


def test_switching_off_and_on_again(client: Client, shelf: list[Product], shopper: int, slates: Slates) -> None:
    report(client, "view", "p01")
    client.post("/privacy/choose/", {"choice": "no"})
    assert not privacy.is_in(shopper)
    assert report(client, "view", "p02") == 0
    client.get("/")
    assert slates.asked[-1]["shopper_id"] is None
    client.post("/privacy/choose/", {"choice": "yes"})
    assert privacy.is_in(shopper)
    assert client.session["shopper_id"] == shopper
    client.get("/")
    assert slates.asked[-1]["shopper_id"] == shopper


def test_the_privacy_page_shows_what_is_known_also_when_switched_off(
    client: Client, shelf: list[Product], shopper: int
) -> None:
    report(client, "view", "p01")
    client.post("/privacy/choose/", {"choice": "no"})
    text = client.get("/privacy/").content.decode()
    assert "Product p01" in text
    assert "recommendations are off" in text


def test_everything_known_can_be_taken_along(client: Client, shelf: list[Product], shopper: int) -> None:
    report(client, "view", "p01")
    client.post("/cart/add/", {"product_id": "p02"})
    response = client.get("/privacy/export/")
    assert "attachment" in response.headers["Content-Disposition"]
    everything = json.loads(response.content)
    assert everything["in_this_browser"]["cart"] == {"p02": 1}
    assert {event["product_id"] for event in everything["remembered"]["events"]} == {"p01", "p02"}


def test_deleting_deletes_here_and_there(client: Client, shelf: list[Product], shopper: int) -> None:
    report(client, "view", "p01")
    client.post("/not-for-me/", {"product_id": "p02"})
    key = privacy.known(shopper)["export_key"]
    response = client.post("/privacy/forget/", follow=True)
    assert "Your history is deleted." in response.content.decode()
    assert seen(shopper) == []
    assert privacy.known(shopper)["export_key"] != key
    assert client.cookies["viewed"].value == ""
    assert "Product p0" not in client.get("/privacy/").content.decode()
    assert privacy.is_in(shopper)


def test_without_javascript_a_button_remembers_what_was_looked_at(
    client: Client, shelf: list[Product], shopper: int
) -> None:
    assert "Remember that I looked at this" in client.get("/product/p01/").content.decode()
    assert seen(shopper) == []
    assert client.post("/looked-at/", {"product_id": "p01"}).headers["Location"] == "/product/p01/"
    assert seen(shopper) == [("view", "p01")]


def test_why_is_answered_in_plain_words(client: Client) -> None:
    text = client.get("/why/").content.decode()
    assert "Why am I seeing this?" in text
    assert "Not for me" in text
