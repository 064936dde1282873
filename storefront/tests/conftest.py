"""What the shop's tests stand on: a small catalogue, and a stand-in for recommender's read door."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer
from redis import Redis
from redis.exceptions import ResponseError

from recommender import cache as slate_cache
from recommender import events, keys, privacy, recommendations, store
from recommender.recommendations import Slate
from storefront import index, reports
from storefront.models import Product


@pytest.fixture(autouse=True)
def _nothing_remembered(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other tests, recommender's too: the index, rate limits and slates outlive a rolled-back database.

    What a process keeps of popular slates is shown when Redis has none: left there, it would fill these pages.
    """
    monkeypatch.setattr(store, "_away_until", 0.0)
    recommendations._remembered.clear()
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    index.refresh()
    reports._found.clear()


MakeProduct = Callable[..., Product]


@pytest.fixture
def make_product(db: None) -> MakeProduct:
    def make(product_id: str, **fields: Any) -> Product:
        given = {
            "name": f"Product {product_id}",
            "department": "Dairy",
            "category": "Milk",
            "price_cents": 250,
            "stock": 10,
        }
        return Product.objects.create(product_id=product_id, **(given | fields))

    return make


@pytest.fixture
def shelf(make_product: MakeProduct) -> list[Product]:
    """Thirty products that can be bought, p01 the most popular."""
    return [make_product(f"p{number:02}", popularity=100 - number) for number in range(1, 31)]


class Slates:
    """recommender's read door with slates put in by hand, keeping its promise on what was bought or dismissed.

    Tiers and Redis are tested where they live; here it matters what the shop makes of a slate.
    """

    def __init__(self) -> None:
        self.given: dict[str, Slate] = {}
        self.asked: list[dict[str, Any]] = []

    def put(
        self,
        name: str,
        product_ids: Sequence[str],
        source: str = "fresh",
        slate_id: str = "slate-1",
        because: str | None = None,
        bought: Collection[str] = (),
    ) -> None:
        why = dict.fromkeys(product_ids, because)
        self.given[name] = Slate(name, product_ids, why, source, slate_id, "model-1", "arm-1", frozenset(bought))

    def for_page(self, *, names: Collection[str], **asked: Any) -> dict[str, Slate]:
        self.asked.append({"names": set(names), **asked})
        found = {name: self.given.get(name, Slate(name)) for name in names}
        shopper_id = asked.get("shopper_id")
        if shopper_id is not None and "for_you" in found:
            slate = found["for_you"]
            taken = events.taken(shopper_id, slate.ids)
            gone = taken.bought | taken.dismissed
            found["for_you"] = slate._replace(ids=[one for one in slate.ids if one not in gone])
        return found


@pytest.fixture
def slates(monkeypatch: pytest.MonkeyPatch) -> Slates:
    stand_in = Slates()
    monkeypatch.setattr(recommendations, "for_page", stand_in.for_page)
    return stand_in


def kept_slates(key: str, **slates: Sequence[str]) -> None:
    """Put slates into Redis, as a worker would: products by name. The last is the reason, save of what sells."""
    sells = key.startswith(keys.popular())
    columns = {
        name: (list(ids), [1.0] * len(ids), [None if sells else ids[-1]] * len(ids)) for name, ids in slates.items()
    }
    body = slate_cache.Body(f"slate of {key}", "m", "", columns)
    slate_cache.put([slate_cache.Entry(key, body, event=10**9)], deadline=0)


def refuse(*_: Any, **__: Any) -> Any:
    """In place of Redis.execute_command, or of Connection.send_command below it: the server is there and does nothing
    that it is asked."""
    raise ResponseError("OOM command not allowed when used memory > 'maxmemory'")


@pytest.fixture
def shopper(client: Client, db: None) -> int:
    """The client's visitor has consented; their shopper_id."""
    client.post("/privacy/choose/", {"choice": "yes"})
    shopper_id: int = client.session["shopper_id"]
    assert privacy.is_in(shopper_id)
    return shopper_id


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """A new visitor's tab. Whatever its console complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(base_url=live_server.url)
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []
