"""Facets: any of one facet's values, all of the facets, and counts that say what choosing would show."""

import re

import pytest
from django.http import QueryDict
from django.test import Client

from storefront import index as catalogue
from storefront.facets import Narrowing
from storefront.tests.conftest import MakeProduct
from storefront.tests.test_pages import ids_in, text_of

pytestmark = pytest.mark.django_db

OFFERED = ("category", "brand", "price", "stock")


@pytest.fixture(autouse=True)
def shelves(make_product: MakeProduct) -> None:
    make_product("a1", brand="Acme", price_cents=99, category="Milk", popularity=9)
    make_product("a2", brand="Acme", price_cents=150, category="Cheese", popularity=8)
    make_product("a3", brand="Acme", price_cents=250, category="Cheese", popularity=7, stock=0)
    make_product("b1", brand="Bella & Co", price_cents=150, category="Cheese", popularity=6)
    make_product("b2", brand="Bella & Co", price_cents=99, category="Milk", popularity=5, stock=0)
    make_product("none", brand="", price_cents=2_000, category="Milk", popularity=4)
    make_product("bread", brand="Acme", department="Bakery", category="Bread")


def narrowed(query: str) -> Narrowing:
    index = catalogue.current()
    return Narrowing(index, index.holders["department"]["dairy"], OFFERED, QueryDict(query))


def kept(query: str) -> list[str]:
    return [catalogue.current().ids[place] for place in narrowed(query).kept()]


def counts(query: str, facet: str) -> dict[str, int]:
    narrowing = narrowed(query)
    found = {found.name: found for found in narrowing.facets(narrowing.kept())}[facet]
    return {value.label: value.count for value in (*found.first, *found.more)}


def test_values_of_one_facet_are_alternatives_and_facets_are_conditions() -> None:
    assert kept("brand=Acme") == ["a1", "a2", "a3"]
    assert kept("brand=Acme&brand=Bella+%26+Co") == ["a1", "a2", "a3", "b1", "b2"]
    assert kept("brand=Acme&brand=Bella+%26+Co&price=1-2") == ["a2", "b1"]
    assert kept("brand=Acme&price=1-2&price=0-1&stock=in") == ["a1", "a2"]
    assert kept("category=dairy/cheese&stock=in") == ["a2", "b1"]


def test_a_price_stands_in_the_band_that_it_begins() -> None:
    assert kept("price=20") == ["none"]
    assert kept("price=1-2") == ["a2", "b1"]


def test_each_count_is_what_choosing_the_value_shows() -> None:
    chosen = "brand=Acme&price=1-2"
    for facet in OFFERED:
        narrowing = narrowed(chosen)
        for shown in narrowing.facets(narrowing.kept()):
            for value in (*shown.first, *shown.more):
                others = [pair for pair in narrowing.pairs() if pair[0] != shown.name]
                alone = QueryDict(mutable=True)
                for name, text in [*others, (shown.name, value.name)]:
                    alone.appendlist(name, text)
                assert value.count == len(kept(alone.urlencode())), (facet, value)
    assert counts("price=1-2", "brand") == {"Acme": 1, "Bella & Co": 1}
    assert counts("stock=in", "brand") == {"Acme": 2, "Bella & Co": 1}
    assert counts("brand=Acme", "price") == {"Under $1": 1, "$1 to $2": 1, "$2 to $3": 1}


def test_what_is_chosen_stays_in_sight_when_the_others_leave_it_nothing() -> None:
    assert counts("brand=Bella+%26+Co&price=2-3", "brand") == {"Acme": 1, "Bella & Co": 0}


@pytest.mark.parametrize(
    "query", ["brand=Nobody", "price=cheap", "stock=maybe", "brand=%00", "colour=red", f"brand={'x' * 10_000}"]
)
def test_what_no_facet_knows_is_left_aside(client: Client, query: str) -> None:
    assert len(kept(query)) == 6
    assert len(ids_in(text_of(client, f"/department/dairy/?{query}"))) == 6


def test_an_address_of_hundreds_of_values_is_cut() -> None:
    assert len(narrowed("&".join(["brand=Nobody"] * 900 + ["brand=Acme"])).pairs()) == 0


def test_without_javascript_the_filters_are_a_plain_form_whose_choices_can_be_taken_back(client: Client) -> None:
    text = text_of(client, "/department/dairy/?brand=Bella+%26+Co&price=1-2&sort=price&page=1")
    assert ids_in(text) == ["b1"]
    assert re.search(r'name="brand" value="Bella &amp; Co" data-submit checked', text)
    assert 'href="/department/dairy/?price=1-2&amp;sort=price"' in text  # without the brand
    assert 'href="/department/dairy/?brand=Bella+%26+Co&amp;sort=price"' in text  # without the price
    assert 'href="/department/dairy/?sort=price"' in text  # without any


def test_filters_that_leave_nothing_say_so_and_lead_back(client: Client) -> None:
    text = text_of(client, "/department/dairy/?brand=Bella+%26+Co&price=20")
    assert ids_in(text) == []
    assert "No product fits all of these filters" in text


def test_a_category_offers_no_other_category_and_a_facet_of_one_value_is_no_choice(client: Client) -> None:
    text = text_of(client, "/department/bakery/bread/")
    assert 'name="category"' not in text
    assert 'name="brand"' not in text
    assert 'name="stock"' in text
