"""Listings: pages that can be lengthened, parts for htmx, search that understands, and a bounded number of queries."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError
from django.test import Client
from redis import Redis

from storefront import index as catalogue
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates, refuse
from storefront.tests.test_pages import ids_in, text_of

pytestmark = pytest.mark.django_db

PART = {"HX-Request": "true", "HX-Target": "results"}
MORE = {"HX-Request": "true", "HX-Target": "more"}


def out_of_reach(*_: Any) -> Any:
    raise OperationalError("the database is away")


@pytest.fixture
def long_shelf(make_product: MakeProduct) -> list[str]:
    """Two hundred products, the most popular first."""
    catalogue.refresh()
    return [make_product(f"n{number:03}", popularity=1_000 - number).product_id for number in range(200)]


def test_show_more_brings_the_next_page_alone_and_an_address_that_shows_both(
    client: Client, long_shelf: list[str]
) -> None:
    first = text_of(client, "/department/dairy/")
    (longer,) = re.findall(r'hx-get="([^"]+page=2)"', first)
    response = client.get(longer.replace("&amp;", "&"), headers=MORE)
    assert ids_in(response.content.decode()) == long_shelf[24:48]
    address = response.headers["HX-Replace-Url"]
    assert ids_in(text_of(client, address)) == long_shelf[:48]


def test_without_javascript_show_more_is_the_next_page(client: Client, long_shelf: list[str]) -> None:
    text = text_of(client, "/department/dairy/")
    assert re.search(r'class="button" href="/department/dairy/\?page=2"', text)
    assert ids_in(text_of(client, "/department/dairy/?page=2")) == long_shelf[24:48]


def test_a_page_grows_to_five_and_no_further(client: Client, long_shelf: list[str]) -> None:
    text = text_of(client, "/department/dairy/?from=1&page=5")
    assert ids_in(text) == long_shelf[:120]
    assert 'id="more"' not in text
    assert 'rel="next"' in text
    assert ids_in(text_of(client, "/department/dairy/?from=1&page=9")) == long_shelf[96:]


@pytest.mark.parametrize("query", ["from=0&page=2", "from=99&page=2", "from=x&page=2", "from=%00&page=2"])
def test_absurd_lengths_give_a_sane_page(client: Client, long_shelf: list[str], query: str) -> None:
    assert ids_in(text_of(client, f"/department/dairy/?{query}"))[-1] == long_shelf[47]


def test_htmx_gets_the_parts_that_change_and_the_canonical_address(client: Client, shelf: list[Product]) -> None:
    response = client.get("/department/dairy/?sort=&stock=in&stock=nonsense&page=1", headers=PART)
    text = response.content.decode()
    assert "<html" not in text
    assert len(ids_in(text)) == 24
    assert re.search(r'id="count"[^>]*hx-swap-oob="innerHTML">30 products', text)
    assert 'id="facet-values" hx-swap-oob' in text
    assert response.headers["HX-Push-Url"] == "/department/dairy/?stock=in"


def test_a_browser_that_comes_back_never_shows_a_part_for_the_page(client: Client, shelf: list[Product]) -> None:
    assert "HX-Request" in client.get("/department/dairy/").headers["Vary"]
    restored = client.get("/department/dairy/", headers={**PART, "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()


def test_a_part_is_not_kept_as_the_page_to_serve_while_the_database_is_away(
    client: Client, shelf: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/department/dairy/", headers=PART)
    monkeypatch.setattr(Product.objects, "visible", out_of_reach)
    assert client.get("/department/dairy/").status_code == 503


@pytest.mark.parametrize(
    "address",
    [
        "/department/dairy/",
        "/department/dairy/milk/?sort=-price&stock=in",
        "/search/?q=product",
        "/search/?q=prodct&price=2-3",
        "/department/dairy/?from=1&page=2",
    ],
)
def test_a_listing_costs_one_query_for_its_products_one_for_its_panel_and_one_for_the_cart(
    client: Client, shelf: list[Product], slates: Slates, django_assert_num_queries: Any, address: str
) -> None:
    slates.put("for_you", ["p01", "p02"])
    client.post("/cart/add/", {"product_id": "p03"})
    catalogue.current()
    with django_assert_num_queries(3):
        assert ids_in(text_of(client, address))


def test_suggestions_cost_one_query_and_may_be_kept(
    client: Client, shelf: list[Product], django_assert_num_queries: Any
) -> None:
    catalogue.current()
    with django_assert_num_queries(1):
        response = client.get("/search/suggest/?q=prod")
    assert response.content.decode().count('role="option"') == 3
    assert set(response.headers["Cache-Control"].split(", ")) == {"max-age=60", "public"}
    assert "Cookie" not in response.headers.get("Vary", "")


def test_suggestions_are_kinds_shelves_and_products_with_the_match_marked(
    client: Client, make_product: MakeProduct
) -> None:
    make_product("a", name="Acme Sharp Cheddar", type="Cheddar cheese", category="Cheese")
    make_product("b", name="Chewing gum", type="Gum", category="Candy", department="Snacks")
    text = text_of(client, "/search/suggest/?q=che")
    assert '/search/?q=Cheddar%20cheese"' in text
    assert "<mark>Cheddar</mark> <mark>cheese</mark>" in text
    assert 'href="/department/dairy/cheese/"' in text
    assert 'href="/product/b/"' in text
    assert "<mark>Chewing</mark> gum" in text


def test_suggestions_forgive_a_mistake(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Sharp Cheddar", type="Cheddar cheese", category="Cheese")
    assert '/search/?q=cheddar"' in text_of(client, "/search/suggest/?q=chedarr")


@pytest.mark.parametrize("typed", ["crisps", "salt crisps", "SALT POTATO CRISPS"])
def test_suggestions_know_other_words_for_one_thing(client: Client, make_product: MakeProduct, typed: str) -> None:
    make_product("a", name="Sea salt chips", type="Salt potato chips", category="Salt potato chips")
    text = text_of(client, f"/search/suggest/?q={typed}")
    assert '/search/?q=Salt%20potato%20chips"' in text
    assert 'href="/department/dairy/salt-potato-chips/"' in text


@pytest.mark.parametrize("query", ["", "%00", "%20", "x" * 10_000, "%25", "%F0%9F%A5%9B", "%FF", "<b>"])
def test_no_text_breaks_the_suggestions(client: Client, shelf: list[Product], query: str) -> None:
    assert "option" not in text_of(client, f"/search/suggest/?q={query}")


def test_a_corrected_search_says_so_and_offers_what_was_typed(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Tomato soup")
    text = text_of(client, "/search/?q=tomatto+soup")
    assert ids_in(text) == ["a"]
    assert "Showing results for <strong>tomato soup</strong>" in text
    assert "<mark>Tomato</mark> <mark>soup</mark>" in text
    (instead,) = re.findall(r'Search instead for <a href="([^"]+)"', text)
    exact = text_of(client, instead.replace("&amp;", "&"))
    assert "Nothing found for “tomatto soup”" in exact
    assert "Did you mean" in exact
    assert '/search/?q=tomato"' in exact


def test_a_search_that_needs_no_correction_is_not_corrected(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Tomato soup")
    assert "Showing results for" not in text_of(client, "/search/?q=tomatoes")


def test_a_search_in_other_words_says_what_they_are(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Zucchini")
    text = text_of(client, "/search/?q=courgettes")
    assert ids_in(text) == ["a"]
    assert "With what is called <strong>zucchini</strong>." in text
    assert "<mark>Zucchini</mark>" in text
    assert "With what is called" not in text_of(client, "/search/?q=zucchini")


def test_filters_keep_the_search(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Tomato soup", brand="Acme")
    make_product("b", name="Tomato soup", brand="Bella")
    text = text_of(client, "/search/?q=tomato&brand=Acme")
    assert ids_in(text) == ["a"]
    assert '<input type="hidden" name="q" value="tomato">' in text
    assert 'href="/search/?q=tomato"' in text


def test_marks_never_open_a_door_for_markup(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Soup <script>alert(1)</script> & 'more' &amp; soup")
    text = text_of(client, "/search/?q=script+amp")
    assert "&lt;<mark>script</mark>&gt;alert(1)&lt;/<mark>script</mark>&gt;" in text
    assert "&amp;<mark>amp</mark>; soup" in text
    assert "<script>alert" not in text


def test_nothing_found_leads_on_without_redis_too(
    client: Client, shelf: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Redis, "execute_command", refuse)
    text = text_of(client, "/search/?q=product+zzzz+xyzzy")
    assert "Nothing found for" in text
    assert '<a href="/search/?q=product">product</a> <small>30</small>' in text
    assert ids_in(text) == [f"p{number:02}" for number in range(1, 7)]
    assert "/department/dairy/" in text


def test_the_pages_links_lead_where_they_say(client: Client, long_shelf: list[str]) -> None:
    text = text_of(client, "/department/dairy/?sort=name&from=2&page=3")
    links = dict(re.findall(r'<a href="([^"]+)" rel="(prev|next)"', text))
    assert {rel: urlsplit(href).query for href, rel in links.items()} == {
        "prev": "sort=name",
        "next": "sort=name&amp;page=4",
    }
