"""The index: read once, read anew beside the requests, and kept while the database is away."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError

from storefront import index as catalogue
from storefront import menu
from storefront.models import Product
from storefront.pace import Pace
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db


def aged(monkeypatch: pytest.MonkeyPatch, seconds: float) -> catalogue.Index:
    index = catalogue.current()
    monkeypatch.setattr(catalogue, "_kept", (index, time.monotonic() - seconds))
    return index


def out_of_reach() -> Any:
    raise OperationalError("the database is away")


def test_places_are_ranks_by_popularity_of_visible_products(make_product: MakeProduct) -> None:
    make_product("second", popularity=1)
    make_product("first", popularity=9)
    make_product("hidden", popularity=99, hidden=True)
    assert catalogue.current().ids == ["first", "second"]


def test_an_empty_catalogue_is_an_index_too() -> None:
    assert catalogue.current().ids == []
    assert menu.departments() == {}


def test_it_is_read_once(shelf: list[Product], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert catalogue.current() is catalogue.current()


def test_one_that_nobody_looked_at_for_long_is_not_shown(shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    old = aged(monkeypatch, catalogue.TOO_OLD + 1)
    Product.objects.filter(product_id="p01").update(hidden=True)
    assert catalogue.current() is not old
    assert "p01" not in catalogue.current().ids


def test_while_the_database_is_away_the_old_one_goes_on(shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    old = aged(monkeypatch, catalogue.TOO_OLD + 1)
    monkeypatch.setattr(Product.objects, "visible", out_of_reach)
    assert catalogue.current() is old


def test_without_any_the_databases_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Product.objects, "visible", out_of_reach)
    with pytest.raises(OperationalError):
        catalogue.current()


@pytest.mark.django_db(transaction=True)
def test_after_a_while_it_is_read_anew_beside_the_requests(
    shelf: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = aged(monkeypatch, catalogue.KEPT + 1)
    Product.objects.filter(product_id="p01").update(hidden=True)
    assert catalogue.current() is old
    with catalogue._reading:  # held by the thread until it is done
        pass
    assert "p01" not in catalogue.current().ids


def read_anew() -> catalogue.Index:
    return catalogue._read(Pace())


def test_a_catalogue_in_which_nothing_changed_is_not_made_anew(shelf: list[Product]) -> None:
    kept = catalogue.current()
    Product.objects.filter(product_id="p01").update(stock=3, popularity=101)  # still in stock, still the first
    assert read_anew() is kept


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Another name"},
        {"department": "Another department"},
        {"category": "Another category"},
        {"type": "Another type"},
        {"brand": "Another brand"},
        {"price_cents": 777},
        {"stock": 0},
        {"popularity": 0},
        {"hidden": True},
        {"created": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda change: str(*change),
)
def test_one_in_which_anything_changed_is(shelf: list[Product], change: dict[str, Any]) -> None:
    kept = catalogue.current()
    Product.objects.filter(product_id="p01").update(**change)
    assert read_anew() is not kept


def test_reading_beside_the_requests_rests_in_proportion_to_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = iter((0.0, 1.0, 1.0, 3.0, 3.0))
    rested: list[float] = []
    monkeypatch.setattr("storefront.pace.time.thread_time", lambda: next(worked))
    monkeypatch.setattr("storefront.pace.time.sleep", rested.append)
    pace = Pace(0.2)
    pace.rest()
    pace.rest()
    assert rested == pytest.approx([4.0, 8.0])
