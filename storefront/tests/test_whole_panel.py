"""The panel out of a real Redis through recommender's own read door: each link of the chain, as a page shows it."""

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import Client

from recommender import cache, keys
from storefront.models import Product

pytestmark = pytest.mark.django_db
IDS = [f"p{number:02}" for number in range(1, 31)]


def put(key: str, because: str | None = None, **slates: Sequence[str]) -> None:
    """As a drain does when the endpoint has answered."""
    items = {name: (ids, [1.0] * len(ids), [because] * len(ids)) for name, ids in slates.items()}
    entry = cache.Entry(key, cache.Body(f"slate of {key}", "model-1", "", items), event=1)
    assert cache.put([entry], deadline=0) == [2]


def panel(client: Client, address: str = "/") -> tuple[str, list[str]]:
    """The tier that filled "Recommended for you" and the ids in it; nothing while it is absent."""
    text = client.get(address).content.decode()
    found = re.search(r'<section class="panel for_you".*?</section>', text, re.DOTALL)
    if found is None:
        return "", []
    source = re.search(r'data-source="(\w+)"', found.group())
    return source.group(1) if source else "", re.findall(r'data-product="([^"]+)"', found.group())


def view(client: Client, product_id: str) -> None:
    client.post(
        "/api/events", {"events": [{"kind": "view", "product_id": product_id}]}, content_type="application/json"
    )


def test_the_chain_from_nothing_to_the_shoppers_own_slate(client: Client, shelf: list[Product], shopper: int) -> None:
    assert panel(client) == ("", [])
    put(keys.popular(), popular=IDS[:12])
    assert panel(client) == ("popular", IDS[:12])
    put(keys.popular("Milk"), popular=IDS[3:15])
    assert panel(client, "/department/dairy/milk/") == ("category", IDS[3:15])
    view(client, "p30")
    put(keys.product("p30"), because="p30", for_you=IDS[6:18])
    assert panel(client) == ("viewed", IDS[6:18])
    put(keys.shopper(shopper), because="p30", for_you=IDS[9:21])
    assert panel(client) == ("fresh", IDS[9:21])


def test_an_old_slate_is_shown_while_a_new_one_is_made(
    client: Client, shelf: list[Product], shopper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cache._TIMES, "shopper", (0, 60))
    put(keys.shopper(shopper), for_you=IDS[:12])
    time.sleep(0.01)
    assert panel(client) == ("stale", IDS[:12])


def test_a_stranger_sees_what_goes_with_what_they_last_looked_at(client: Client, shelf: list[Product]) -> None:
    put(keys.popular(), popular=IDS[:12])
    put(keys.product("p30"), because="p30", for_you=IDS[6:18])
    view(client, "p30")
    assert panel(client) == ("viewed", IDS[6:18])
    text = client.get("/").content.decode()
    assert "Because you looked at Product p30" in text


def test_what_was_bought_or_put_aside_since_is_gone_at_the_next_look(
    client: Client, shelf: list[Product], shopper: int
) -> None:
    put(keys.shopper(shopper), for_you=IDS[:12])
    client.post("/not-for-me/", {"product_id": "p01"})
    assert panel(client) == ("fresh", IDS[1:12])


def test_the_poll_notices_the_slate_that_a_view_brought(client: Client, shelf: list[Product], shopper: int) -> None:
    put(keys.shopper(shopper), for_you=IDS[:12])
    text = client.get("/product/p30/").content.decode()
    poll = re.findall(r'class="poll" hx-get="([^"]+)"', text)[0].replace("&amp;", "&")
    assert "HX-Retarget" not in client.get(poll).headers
    entry = cache.Entry(
        keys.shopper(shopper), cache.Body("newer", "model-1", "", {"for_you": (["p20"], [1.0], ["p30"])}), 2
    )
    cache.put([entry], deadline=0)
    swapped = client.get(poll)
    assert swapped.headers["HX-Retarget"] == "#panel-for_you"
    assert 'data-slate="newer"' in swapped.content.decode()


def test_home_of_a_known_shopper_costs_three_queries(
    client: Client, shelf: list[Product], shopper: int, django_assert_max_num_queries: Any
) -> None:
    put(keys.shopper(shopper), because="p30", for_you=IDS, again=IDS[20:])
    put(keys.popular(), popular=IDS[10:])
    client.post("/cart/add/", {"product_id": "p29"})
    client.get("/")
    with django_assert_max_num_queries(3):  # the cart, what was taken, the products of every panel
        assert panel(client)[0] == "fresh"
