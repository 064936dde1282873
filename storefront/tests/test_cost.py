"""What reading a page costs, and that what is kept to make it cheap is never shown when it has become untrue."""

import re
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils.safestring import SafeString
from redis.connection import AbstractConnection

from recommender import events, keys
from storefront.fragments import Fragment, fragment
from storefront.models import Account, Product
from storefront.tests.conftest import Slates, kept_slates

pytestmark = pytest.mark.django_db


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that a Redis client of this process sends."""
    sent: list[Any] = []
    original = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        sent.append(command)
        original(self, command, check_health)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


@pytest.fixture
def known(client: Client, shelf: list[Product], shopper: int) -> Client:
    """A signed-in shopper with slates of their own, something bought, looked at and in the cart."""
    user = User.objects.create_user("known")
    Account.objects.create(user=user, shopper_id=shopper)
    client.force_login(user)
    session = client.session
    session.update({"shopper_id": shopper, "consent": "yes", "name": "Known"})
    session.save()
    client.post("/cart/add/", {"product_id": "p30"})
    client.post("/looked-at/", {"product_id": "p29"})
    events.record(shopper, [events.NewEvent(product_id="p28", kind="purchase")])
    ids = [product.product_id for product in shelf]
    kept_slates(keys.shopper(shopper), for_you=ids, again=["p28"])
    kept_slates(keys.popular(), popular=ids)
    kept_slates(keys.product("p29"), for_you=ids)
    return client


@pytest.mark.parametrize("address", ["/", "/api/recommendations"])
def test_a_known_shoppers_page_costs_one_round_trip_to_redis_and_one_query(
    known: Client, round_trips: list[Any], django_assert_max_num_queries: Any, address: str
) -> None:
    known.get(address)  # connects, teaches Redis the script, reads the menu
    round_trips.clear()
    with django_assert_max_num_queries(1):  # the products, the cart, and what was taken
        text = known.get(address).content.decode()
    assert len(round_trips) == 1
    assert "fresh" in text


def test_a_strangers_home_page_costs_one_round_trip_and_one_query(
    client: Client, shelf: list[Product], round_trips: list[Any], django_assert_num_queries: Any
) -> None:
    kept_slates(keys.popular(), popular=[product.product_id for product in shelf])
    client.get("/")
    round_trips.clear()
    with django_assert_num_queries(1):
        client.get("/")
    assert len(round_trips) == 1


def test_no_page_asks_aws(known: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("boto3", "botocore"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    assert known.get("/").status_code == known.get("/api/recommendations").status_code == 200


@pytest.mark.parametrize(
    ("change", "gone", "there"),
    [
        ("price_cents = 777", "$2.50", "$7.77"),
        ("name = 'Another name'", "Product p01", "Another name"),
        ("size = '9 L'", "8 L", "9 L"),
    ],
)
def test_a_card_tells_what_holds_now_whoever_changed_it(
    client: Client, shelf: list[Product], slates: Slates, change: str, gone: str, there: str
) -> None:
    Product.objects.filter(product_id="p01").update(size="8 L")
    slates.put("for_you", ["p01"])
    assert gone in client.get("/").content.decode()
    with connection.cursor() as cursor:  # as another program would, past every hook of ours
        cursor.execute(f"UPDATE storefront_product SET {change} WHERE product_id = 'p01'")
    for address in ("/", "/department/dairy/"):
        card = re.search(r'data-product="p01".*?</li>', client.get(address).content.decode(), re.DOTALL)
        assert card
        assert there in card.group()
        assert gone not in card.group()


@pytest.mark.parametrize("change", ["stock = 0", "hidden = true"])
def test_what_can_no_longer_be_bought_is_gone_from_the_next_page(
    client: Client, shelf: list[Product], slates: Slates, change: str
) -> None:
    slates.put("for_you", ["p01", "p02"])
    assert 'id="for_you-p01"' in client.get("/").content.decode()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE storefront_product SET {change} WHERE product_id = 'p01'")
    text = client.get("/").content.decode()
    assert 'id="for_you-p01"' not in text
    assert 'id="for_you-p02"' in text


def test_two_visitors_pages_share_nothing_of_theirs(shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", ["p01"])
    one, other = Client(), Client()
    one.post("/cart/add/", {"product_id": "p02"})
    tokens = [
        re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', who.get("/").content.decode()) for who in (one, other)
    ]
    assert len(set(tokens[0])) == len(set(tokens[1])) == 1
    assert set(tokens[0]).isdisjoint(tokens[1])
    assert '<span class="count">1</span>' in one.get("/").content.decode()
    assert '<span class="count">' not in other.get("/").content.decode()


def test_a_slots_text_is_escaped_unless_it_is_markup_already() -> None:
    found = fragment("poll.html", "poll", "delay")
    assert found is fragment("poll.html", "poll", "delay")
    text = found.fill(poll='"><script>', delay=300)
    assert "<script>" not in text
    assert "delay:300ms" in text
    assert Fragment("as it is").fill() == "as it is"
    assert "<b>" in found.fill(poll=SafeString("<b>"), delay=0)
