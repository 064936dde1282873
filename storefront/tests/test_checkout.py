import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection
from django.db.models import F
from django.test import Client

from recommender import events, privacy
from recommender.tests.conftest import database_url
from storefront import orders
from storefront.models import Cart, CartLine, Order, OrderLine, Product
from storefront.tests.conftest import MakeProduct

RECIPIENT = orders.Recipient(name="Ada", address="1 Long Lane")
FORM = {"name": "Ada", "address": "1 Long Lane", "email": ""}


def filled(client: Client, product_id: str = "p01", quantity: int = 1) -> dict[str, str]:
    """Put a product in the cart and fill in the checkout's form."""
    client.post("/cart/add/", {"product_id": product_id, "quantity": str(quantity)})
    return form_of(client.get("/checkout/").content.decode())


def form_of(page: str) -> dict[str, str]:
    return FORM | dict(re.findall(r'name="(key|shown_cents|cart)" value="([^"]+)"', page))


@pytest.mark.django_db
def test_a_guest_orders_and_may_look_at_the_order_again(client: Client, shelf: list[Product]) -> None:
    response = client.post("/checkout/", filled(client, quantity=2), follow=True)
    order = Order.objects.get()
    assert response.redirect_chain == [(f"/order/{order.number}/", 302)]
    assert "$5.00" in response.content.decode()
    assert order.user_id is None
    assert order.total_cents == 500
    assert Product.objects.get(product_id="p01").stock == 8
    assert not CartLine.objects.exists()
    assert "It is empty" in client.get("/cart/").content.decode()
    assert client.get("/checkout/").headers["Location"] == "/cart/"


@pytest.mark.django_db
def test_order_numbers_tell_nothing_of_each_other() -> None:
    numbers = {Order.objects.create(key=str(n), name="A", address="B", total_cents=1).number for n in range(20)}
    assert len(numbers) == 20
    assert all(re.fullmatch(r"[0-9A-F]{20}", number) for number in numbers)


@pytest.mark.django_db
def test_the_same_form_twice_is_one_order(client: Client, shelf: list[Product]) -> None:
    form = filled(client)
    first = client.post("/checkout/", form)
    second = client.post("/checkout/", form)
    assert first.headers["Location"] == second.headers["Location"]
    assert Order.objects.count() == 1
    assert Product.objects.get(product_id="p01").stock == 9


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"address": " "}, {"email": "nobody"}, {"key": ""}, {"key": "short"}, {"key": "x" * 32},
        {"shown_cents": "-1"}, {"shown_cents": "free"}, {"shown_cents": "9" * 30}, {"name": "A\0"}, {"name": "x" * 500},
    ],
)  # fmt: skip
def test_a_form_that_is_not_right_orders_nothing_and_says_what(
    client: Client, shelf: list[Product], change: dict[str, str]
) -> None:
    response = client.post("/checkout/", filled(client) | change)
    assert response.status_code == 422
    text = response.content.decode()
    assert 'class="errorlist"' in text or "did not come as this page sends it" in text
    assert not Order.objects.exists()
    assert Product.objects.get(product_id="p01").stock == 10


@pytest.mark.django_db
def test_what_is_gone_meanwhile_is_not_sold_and_nothing_else_either(client: Client, shelf: list[Product]) -> None:
    client.post("/cart/add/", {"product_id": "p02"})
    form = filled(client, "p01", 3)
    Product.objects.filter(product_id="p01").update(stock=2)
    response = client.post("/checkout/", form)
    assert response.status_code == 409
    assert "no longer enough of: Product p01" in response.content.decode()
    assert not Order.objects.exists()
    assert Product.objects.get(product_id="p02").stock == 10
    assert CartLine.objects.count() == 2


@pytest.mark.django_db
def test_a_product_that_was_hidden_meanwhile_is_not_sold(client: Client, shelf: list[Product]) -> None:
    form = filled(client)
    Product.objects.filter(product_id="p01").update(hidden=True)
    assert client.post("/checkout/", form).status_code == 409
    assert not Order.objects.exists()


@pytest.mark.django_db
def test_nobody_pays_another_price_than_they_saw(client: Client, shelf: list[Product]) -> None:
    form = filled(client)
    Product.objects.filter(product_id="p01").update(price_cents=999)
    response = client.post("/checkout/", form)
    assert response.status_code == 409
    text = response.content.decode()
    assert "A price changed" in text
    assert not Order.objects.exists()
    assert client.post("/checkout/", form_of(text)).status_code == 302
    assert Order.objects.get().total_cents == 999


@pytest.mark.django_db
def test_a_receipt_keeps_its_names_and_prices(client: Client, shelf: list[Product]) -> None:
    client.post("/checkout/", filled(client))
    Product.objects.filter(product_id="p01").update(name="Something else", price_cents=1)
    line = OrderLine.objects.get()
    assert (line.name, line.price_cents) == ("Product p01", 250)


@pytest.mark.django_db
def test_a_users_order_opens_to_that_user_alone(client: Client, shelf: list[Product], django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("ada"))
    address = client.post("/checkout/", filled(client)).headers["Location"]
    assert client.get(address).status_code == 200
    assert Client().get(address).status_code == 404
    other = Client()
    other.force_login(django_user_model.objects.create_user("bob"))
    assert other.get(address).status_code == 404
    assert "Product p01" in client.get("/account/orders/").content.decode()
    assert "No orders yet" in other.get("/account/orders/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_purchases_are_recorded_once_the_order_stands(client: Client, shelf: list[Product]) -> None:
    client.post("/privacy/choose/", {"choice": "yes"})
    shopper_id = client.session["shopper_id"]
    form = filled(client, quantity=3)
    client.post("/checkout/", form)
    client.post("/checkout/", form)
    known = privacy.known(shopper_id)["events"]
    bought = [event for event in known if event["kind"] == "purchase"]
    assert [(event["product_id"], event["quantity"]) for event in bought] == [("p01", 3)]


@pytest.mark.django_db(transaction=True)
def test_an_order_that_fails_records_no_purchase(client: Client, shelf: list[Product]) -> None:
    client.post("/privacy/choose/", {"choice": "yes"})
    shopper_id = client.session["shopper_id"]
    form = filled(client)
    Product.objects.update(stock=0)
    client.post("/checkout/", form)
    assert "purchase" not in {line.kind for line in events.history(shopper_id)}


@pytest.mark.django_db
def test_a_guest_whose_session_ended_finds_cart_and_form_as_they_were(client: Client, shelf: list[Product]) -> None:
    form = filled(client, quantity=2)
    del client.cookies["sessionid"]
    response = client.post("/checkout/", form)
    text = response.content.decode()
    assert response.status_code == 409
    assert "Your session ended while you were here. Nothing is lost" in text
    assert 'value="Ada"' in text
    assert "1 Long Lane" in text
    assert not Order.objects.exists()
    assert client.post("/checkout/", form_of(text)).status_code == 302
    assert Order.objects.get().total_cents == 500


@pytest.mark.django_db
def test_a_user_whose_session_ended_signs_in_and_goes_on(
    client: Client, shelf: list[Product], django_user_model: Any
) -> None:
    user = django_user_model.objects.create_user("ada", password="a long and quiet river")
    client.force_login(user)
    form = filled(client)
    del client.cookies["sessionid"]
    response = client.post("/checkout/", form, follow=True)
    assert response.redirect_chain == [("/account/sign-in/?next=/checkout/", 302)]
    assert "Nothing is lost: sign in" in response.content.decode()
    assert not Order.objects.exists()
    signed_in = {"username": "ada", "password": "a long and quiet river", "next": "/checkout/"}
    assert "Product p01" in client.post("/account/sign-in/", signed_in, follow=True).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("cart", ["", "1", "forged:signature", "\0"])
def test_nobody_finds_a_cart_that_is_not_theirs(client: Client, shelf: list[Product], cart: str) -> None:
    form = filled(client)
    stranger = Client()
    assert stranger.post("/checkout/", form | {"cart": cart}).headers["Location"] == "/cart/"
    assert "cart" not in stranger.session or "Product p01" not in stranger.get("/cart/").content.decode()


@pytest.mark.django_db
def test_a_form_that_became_an_order_leads_to_it_also_after_the_session(client: Client, shelf: list[Product]) -> None:
    form = filled(client)
    first = client.post("/checkout/", form)
    client.post("/cart/add/", {"product_id": "p02"})
    del client.cookies["sessionid"]
    assert client.post("/checkout/", form).headers["Location"] == first.headers["Location"]
    assert Order.objects.count() == 1


KILLED = """
import sys, time, django
django.setup()
from storefront import orders
from storefront.models import Cart, OrderLine

def in_the_middle(*_):
    print("stock is taken", flush=True)
    time.sleep(60)

OrderLine.objects.bulk_create = in_the_middle
orders.place(Cart.objects.get(pk=int(sys.argv[1])), key="k" * 32, shown_cents=200,
             recipient=orders.Recipient(name="Ada", address="1 Long Lane"), user_id=None, shopper_id=None)
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_in_the_middle_sells_nothing_and_loses_no_cart(make_product: MakeProduct) -> None:
    make_product("a", price_cents=100, stock=2)
    cart = cart_of(a=2)
    command = [sys.executable, "-c", KILLED, str(cart.pk)]
    environment = {**os.environ, "DATABASE_URL": database_url()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "stock is taken\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not Order.objects.exists()
    assert Product.objects.get().stock == 2
    assert cart.lines.get().quantity == 2
    assert buy(cart, "k" * 32, 200)().total_cents == 200
    assert Product.objects.get().stock == 0


@pytest.mark.django_db(transaction=True)
def test_the_database_itself_refuses_to_sell_what_is_not_there(make_product: MakeProduct) -> None:
    make_product("a", stock=1)
    with pytest.raises((IntegrityError, DataError)):
        Product.objects.update(stock=F("stock") - 2)
    assert Product.objects.get().stock == 1


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each returned or raised, when all began at the same moment, each with a connection of its own."""
    gate = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(place: int, act: Callable[[], Any]) -> None:
        try:
            gate.wait(timeout=10)
            results[place] = act()
        except Exception as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def buy(cart: Cart, key: str, cents: int) -> Callable[[], Order]:
    return lambda: orders.place(cart, key=key, shown_cents=cents, recipient=RECIPIENT, user_id=None, shopper_id=None)


def cart_of(**quantities: int) -> Cart:
    cart = Cart.objects.create()
    for product_id, quantity in quantities.items():
        cart.add(product_id, quantity)
    return cart


@pytest.mark.django_db(transaction=True)
def test_of_many_buyers_of_the_last_ones_only_as_many_succeed(make_product: MakeProduct) -> None:
    make_product("last", stock=3, price_cents=100)
    results = at_once(*(buy(cart_of(last=1), f"{number:032}", 100) for number in range(6)))
    assert sum(isinstance(result, Order) for result in results) == 3
    assert sum(isinstance(result, orders.NotPlaced) for result in results) == 3
    assert Product.objects.get(product_id="last").stock == 0
    assert Order.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_orders_that_share_products_do_not_wait_in_a_ring(make_product: MakeProduct) -> None:
    make_product("a", price_cents=100)
    make_product("b", price_cents=100)
    carts = [cart_of(a=1, b=1) if number % 2 else cart_of(b=1, a=1) for number in range(6)]
    results = at_once(*(buy(cart, f"{number:032}", 200) for number, cart in enumerate(carts)))
    assert [type(result) for result in results] == [Order] * 6
    assert set(Product.objects.values_list("stock", flat=True)) == {4}


@pytest.mark.django_db(transaction=True)
def test_a_double_click_at_one_moment_is_one_order(make_product: MakeProduct) -> None:
    make_product("a", price_cents=100)
    cart = cart_of(a=1)
    first, second = at_once(buy(cart, "k" * 32, 100), buy(cart, "k" * 32, 100))
    assert first == second
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_cart_in_two_tabs_at_one_moment_is_one_order(make_product: MakeProduct) -> None:
    make_product("a", price_cents=100)
    cart = cart_of(a=1)
    results = at_once(buy(cart, "k" * 32, 100), buy(cart, "l" * 32, 100))
    assert sorted(type(result).__name__ for result in results) == ["NotPlaced", "Order"]
    assert Product.objects.get().stock == 9


@pytest.mark.django_db(transaction=True)
def test_adding_at_one_moment_loses_nothing(make_product: MakeProduct) -> None:
    make_product("a")
    cart = Cart.objects.create()
    at_once(*(lambda: Cart.objects.get(pk=cart.pk).add("a", 1) for _ in range(4)))
    assert cart.lines.get().quantity == 4
