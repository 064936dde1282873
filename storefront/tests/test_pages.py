import re

import pytest
from django.template.loader import render_to_string
from django.test import Client

from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates

pytestmark = pytest.mark.django_db


def text_of(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return response.content.decode()


def ids_in(text: str) -> list[str]:
    return re.findall(r'data-product="([^"]+)"', text)


def test_home_shows_the_departments_of_the_catalogue(client: Client, make_product: MakeProduct) -> None:
    make_product("a", department="Dairy")
    make_product("b", department="Meat & fish")
    text = text_of(client, "/")
    assert "/department/dairy/" in text
    assert "/department/meat-fish/" in text


def test_home_of_an_empty_shop_is_whole(client: Client) -> None:
    assert "no catalogue has been loaded" in text_of(client, "/")


def test_a_department_lists_24_products_a_page_the_most_popular_first(client: Client, shelf: list[Product]) -> None:
    assert ids_in(text_of(client, "/department/dairy/")) == [f"p{number:02}" for number in range(1, 25)]
    assert ids_in(text_of(client, "/department/dairy/?page=2")) == [f"p{number:02}" for number in range(25, 31)]


@pytest.mark.parametrize(
    ("sort", "first"),
    [("price", "cheap"), ("-price", "dear"), ("name", "dear"), ("popular", "plain"), ("new", "plain")],
)
def test_a_listing_is_sorted_as_asked(client: Client, make_product: MakeProduct, sort: str, first: str) -> None:
    make_product("cheap", name="B", price_cents=1)
    make_product("dear", name="A", price_cents=900)
    make_product("plain", name="C", popularity=5)
    assert ids_in(text_of(client, f"/department/dairy/?sort={sort}"))[0] == first


def test_sorting_survives_paging(client: Client, shelf: list[Product]) -> None:
    assert "?sort=name&amp;page=2" in text_of(client, "/department/dairy/?sort=name")


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=99999999999999999999999",
        "page=",
        "sort=nonsense",
        "sort=stock%00",
        "page=1%00",
    ],
)
def test_absurd_pages_and_sorts_give_a_sane_page(client: Client, shelf: list[Product], query: str) -> None:
    assert ids_in(text_of(client, f"/department/dairy/?{query}"))


def test_a_category_is_of_its_department(client: Client, make_product: MakeProduct) -> None:
    make_product("milk", department="Dairy", category="Drinks")
    make_product("juice", department="Produce", category="Drinks")
    assert ids_in(text_of(client, "/department/dairy/drinks/")) == ["milk"]


@pytest.mark.parametrize(
    "address",
    [
        "/department/nothing/", "/department/dairy/nothing/", "/product/nothing/", "/product/%00/", "/product/a%20b/",
        "/order/ABC/", "/nowhere/", f"/product/{'9' * 200}/",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_404_with_a_way_on(client: Client, make_product: MakeProduct, address: str) -> None:
    make_product("a")
    text = text_of(client, address, 404)
    assert "There is nothing here" in text
    assert "/department/dairy/" in text


def test_a_hidden_product_has_no_page_and_stands_in_no_listing(client: Client, make_product: MakeProduct) -> None:
    make_product("a")
    make_product("b", hidden=True)
    text_of(client, "/product/b/", 404)
    assert ids_in(text_of(client, "/department/dairy/")) == ["a"]
    assert ids_in(text_of(client, "/search/?q=product")) == ["a"]


def test_a_sold_out_product_keeps_its_page_and_cannot_be_bought(client: Client, make_product: MakeProduct) -> None:
    make_product("a", stock=0)
    text = text_of(client, "/product/a/")
    assert "Sold out" in text
    assert "Add to cart" not in text


def test_the_product_page_says_what_is_known_and_few_are_left(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Oat drink", brand="Hill", size="1 L", price_cents=123456, stock=3)
    text = text_of(client, "/product/a/")
    for words in ("Oat drink", "Hill", "1 L", "$1,234.56", "Only 3 left"):
        assert words in text


def test_search_finds_by_name_and_says_so_when_it_does_not(client: Client, make_product: MakeProduct) -> None:
    make_product("a", name="Whole milk")
    make_product("b", name="Bagels", category="Bread")
    assert ids_in(text_of(client, "/search/?q=milk")) == ["a"]
    assert "Nothing found for" in text_of(client, "/search/?q=zzzzzzzz")
    assert "Departments" in text_of(client, "/search/")


@pytest.mark.parametrize(
    "query", ["%00", "%00milk", "%25", "'", '"', "a" * 5000, "(", "*", "%F0%9F%A5%9B", "%FF", "OR 1=1"]
)
def test_no_search_breaks_the_page(client: Client, make_product: MakeProduct, query: str) -> None:
    make_product("a")
    text_of(client, f"/search/?q={query}")


def test_markup_in_names_and_queries_is_text(client: Client, make_product: MakeProduct, slates: Slates) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    make_product("a", name=evil, brand=evil, size="<b>", category="<i>Milk")
    slates.put("for_you", ["a"], because="a", slate_id='"><script>alert(1)</script>')
    for address in ("/", "/department/dairy/", "/product/a/", "/search/", "/cart/"):
        text = text_of(client, address)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "<script>alert" not in client.get("/search/", {"q": evil}).content.decode()


@pytest.mark.parametrize(
    "address", ["/", "/department/dairy/", "/product/p01/", "/cart/", "/privacy/", "/account/sign-in/"]
)
def test_pages_keep_the_policy_that_forbids_inline_code(client: Client, shelf: list[Product], address: str) -> None:
    response = client.get(address)
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    text = response.content.decode()
    # Structured data is no code: browsers run no script of that type. Its addresses are names that nothing loads.
    text = re.sub(r'<script type="application/ld\+json">.*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert not re.search(r"<[^>]+ (?:style|on[a-z]+)=", text)
    assert "http://" not in text
    assert "https://" not in text


def test_a_forged_form_is_refused_with_a_page_that_helps(shelf: list[Product]) -> None:
    response = Client(enforce_csrf_checks=True).post("/cart/add/", {"product_id": "p01"})
    assert response.status_code == 403
    assert "open for too long" in response.content.decode()


def test_the_last_error_page_needs_nothing() -> None:
    assert "Something broke on our side" in render_to_string("500.html")


def test_healthz_answers_without_the_database(client: Client, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert client.get("/healthz").content == b"ok\n"


def test_reading_pages_keeps_no_cookie_but_the_form_token(client: Client, shelf: list[Product]) -> None:
    for address in ("/", "/department/dairy/", "/product/p01/", "/search/?q=product", "/cart/"):
        client.get(address)
    assert set(client.cookies) == {"csrftoken"}


@pytest.mark.parametrize(
    "address", ["/cart/add/", "/not-for-me/", "/privacy/choose/", "/privacy/forget/", "/account/sign-out/"]
)
def test_what_changes_something_is_never_a_link(client: Client, address: str) -> None:
    assert client.get(address).status_code == 405
