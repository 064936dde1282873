import pytest
from django.test import Client

from recommender import events
from storefront.models import MAX_LINES, MAX_QUANTITY, Cart, CartLine, Product
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def lines(client: Client) -> dict[str, int]:
    cart_id = client.session.get("cart", 0)
    return dict(CartLine.objects.filter(cart_id=cart_id).values_list("product_id", "quantity"))


def test_a_plain_form_adds_and_comes_back_with_a_message(client: Client, shelf: list[Product]) -> None:
    response = client.post("/cart/add/", {"product_id": "p01", "next": "/department/dairy/"}, follow=True)
    assert response.redirect_chain == [("/department/dairy/", 302)]
    assert "Product p01 is in your cart." in response.content.decode()
    assert lines(client) == {"p01": 1}
    assert "is in your cart" not in client.get("/").content.decode()


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil.example"]
)
def test_a_form_leads_to_no_other_site(client: Client, shelf: list[Product], elsewhere: str) -> None:
    response = client.post("/cart/add/", {"product_id": "p01", "next": elsewhere})
    assert response.headers["Location"] == "/product/p01/"


def test_htmx_gets_the_count_and_the_message_alone(client: Client, shelf: list[Product]) -> None:
    response = client.post("/cart/add/", {"product_id": "p01", "quantity": "3"}, headers=HTMX)
    text = response.content.decode()
    assert "<html" not in text
    assert '<span class="count">3</span>' in text
    assert "Product p01 is in your cart." in text
    assert '"quantity": 3' in response.headers["HX-Trigger"]


def test_a_cart_takes_no_more_than_there_is(client: Client, make_product: MakeProduct) -> None:
    make_product("a", stock=2)
    client.post("/cart/add/", {"product_id": "a", "quantity": "5"})
    assert lines(client) == {"a": 2}
    text = client.post("/cart/add/", {"product_id": "a"}, headers=HTMX).content.decode()
    assert "sold out" in text
    assert lines(client) == {"a": 2}


def test_a_cart_takes_no_more_of_one_product_than_a_household(client: Client, make_product: MakeProduct) -> None:
    make_product("a", stock=500)
    client.post("/cart/add/", {"product_id": "a", "quantity": "999999999"})
    assert lines(client) == {"a": MAX_QUANTITY}
    text = client.post("/cart/add/", {"product_id": "a"}, headers=HTMX).content.decode()
    assert "the most we sell" in text


def test_a_cart_takes_no_more_lines_than_its_limit(client: Client, make_product: MakeProduct) -> None:
    for number in range(MAX_LINES + 1):
        make_product(f"n{number}")
        client.post("/cart/add/", {"product_id": f"n{number}"}, headers=HTMX)
    assert len(lines(client)) == MAX_LINES


@pytest.mark.parametrize("quantity", ["", "x", "-3", "1.5", "²", "9" * 400, "\0"])
def test_an_absurd_quantity_is_one_or_the_most(client: Client, make_product: MakeProduct, quantity: str) -> None:
    make_product("a", stock=500)
    client.post("/cart/add/", {"product_id": "a", "quantity": quantity})
    assert lines(client) == {"a": 1}


@pytest.mark.parametrize("product_id", ["", "nope", "hidden", "a b", "\0", "x" * 500])
def test_what_is_not_sold_cannot_be_added(client: Client, make_product: MakeProduct, product_id: str) -> None:
    make_product("hidden", hidden=True)
    assert client.post("/cart/add/", {"product_id": product_id}).status_code == 404
    assert "cart" not in client.session


def test_quantities_change_and_zero_removes(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01"})
    client.post("/cart/add/", {"product_id": "p02"})
    client.post("/cart/update/", {"product_id": "p01", "quantity": "4"})
    assert lines(client) == {"p01": 4, "p02": 1}
    text = client.post("/cart/update/", {"product_id": "p02", "quantity": "0"}, headers=HTMX).content.decode()
    assert lines(client) == {"p01": 4}
    assert 'id="quantity-p02"' not in text
    assert '<span class="count">4</span>' in text


def test_the_cart_page_says_what_stands_in_the_way(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01", "quantity": "5"})
    client.post("/cart/add/", {"product_id": "p02"})
    Product.objects.filter(product_id="p01").update(stock=2)
    Product.objects.filter(product_id="p02").update(hidden=True)
    text = client.get("/cart/").content.decode()
    assert "Only 2 left of Product p01." in text
    assert "Product p02 is sold out." in text


def test_a_cart_is_an_event_only_with_consent(client: Client, shelf: list[Product], shopper: int) -> None:
    form = {"product_id": "p01", "quantity": "2", "slate_id": "s" * 999, "model_version": "m", "arm": "a" * 999}
    client.post("/cart/add/", form)
    assert [(line.product_id, line.kind) for line in events.history(shopper)] == [("p01", "cart")]
    client.post("/privacy/choose/", {"choice": "no"})
    client.post("/cart/add/", {"product_id": "p02"})
    assert [line.product_id for line in events.history(shopper)] == ["p01"]


def test_carts_of_two_visitors_are_two(shelf: list[Product]) -> None:
    one, other = Client(), Client()
    one.post("/cart/add/", {"product_id": "p01"})
    other.post("/cart/add/", {"product_id": "p02"})
    assert (lines(one), lines(other)) == ({"p01": 1}, {"p02": 1})


def change(client: Client, **form: str) -> str:
    return client.post("/cart/update/", {"product_id": "p01", **form}, headers=HTMX).content.decode()


def test_plus_and_minus_step_from_what_the_form_shows(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01"})
    change(client, quantity="1", step="more")
    assert lines(client) == {"p01": 2}
    text = change(client, quantity="2", step="less")
    assert lines(client) == {"p01": 1}
    assert "Product p01: 1 in your cart." in text
    assert "is taken out" in change(client, quantity="1", step="less")
    assert lines(client) == {}


def test_no_step_leads_past_the_stock_or_a_household(client: Client, make_product: MakeProduct) -> None:
    make_product("p01", stock=3)
    client.post("/cart/add/", {"product_id": "p01", "quantity": "3"})
    assert "There are only 3 of Product p01:" in change(client, quantity="3", step="more")
    assert lines(client) == {"p01": 3}
    Product.objects.update(stock=500)
    change(client, quantity=str(MAX_QUANTITY), step="more")
    assert lines(client) == {"p01": MAX_QUANTITY}


def test_what_was_removed_can_be_put_back(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01", "quantity": "4"})
    text = change(client, quantity="0")
    assert 'name="quantity" value="4"' in text
    assert "Undo" in text
    assert "It is empty" in text
    assert "Undo" not in change(client, quantity="4")
    assert lines(client) == {"p01": 4}


def test_undo_needs_no_javascript(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01", "quantity": "4"})
    text = client.post("/cart/update/", {"product_id": "p01", "quantity": "0"}, follow=True).content.decode()
    assert "Undo" in text
    client.post("/cart/update/", {"product_id": "p01", "quantity": "4"})
    assert lines(client) == {"p01": 4}
    assert "Undo" not in client.get("/cart/").content.decode()


def test_what_sold_out_can_be_taken_out_but_not_put_back(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p01"})
    Product.objects.filter(product_id="p01").update(stock=0)
    change(client, quantity="1", step="more")
    assert lines(client) == {"p01": 1}
    assert "Undo" not in change(client, quantity="0")
    change(client, quantity="1")
    assert lines(client) == {}


def test_the_drawer_holds_the_cart_where_a_page_asks_for_it(client: Client, shelf: list[Product]) -> None:
    form = {"product_id": "p01", "drawer": ""}
    text = client.post("/cart/add/", form, headers=HTMX).content.decode()
    assert 'hx-swap-oob="innerHTML:#drawer"' in text
    assert "Check out" in text
    assert "#drawer" not in client.post("/cart/add/", {"product_id": "p02"}, headers=HTMX).content.decode()


def test_adding_on_the_carts_page_shows_there(client: Client, shelf: list[Product]) -> None:
    headers = HTMX | {"HX-Current-URL": "http://testserver/cart/"}
    text = client.post("/cart/add/", {"product_id": "p02"}, headers=headers).content.decode()
    assert '<div id="cart" class="cart" hx-swap-oob="true">' in text
    assert "Product p02" in text


def test_two_carts_become_one_within_bounds(shelf: list[Product]) -> None:
    ours, guests = Cart.objects.create(), Cart.objects.create()
    ours.add("p01", 15)
    guests.add("p01", 15)
    guests.add("p02", 1)
    ours.take_over(guests)
    assert dict(ours.lines.values_list("product_id", "quantity")) == {"p01": MAX_QUANTITY, "p02": 1}
    assert not Cart.objects.filter(pk=guests.pk).exists()
