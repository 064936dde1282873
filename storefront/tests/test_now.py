"""What pages are told in one statement is what the tables say, on both databases, whatever the texts hold."""

from typing import Any

import pytest

from recommender import events
from recommender.recommendations import Taken
from storefront import now
from storefront.models import Cart, Product
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db

NOBODY = Taken(frozenset(), frozenset())
ODD = 'Line\nbreak\r\n, "quoted" \\n [1, null], 100% %(products)s, Crème \u2028 \x1f 🥛'


def test_products_come_as_the_table_has_them_by_id_and_what_nothing_bears_is_absent(make_product: MakeProduct) -> None:
    one = make_product("p1", type="Whole", brand="Aisle", size="1 L", price_cents=1, stock=0, hidden=True)
    other = make_product("p2")
    found = now.look(["p2", "p9", "p1"]).products
    assert found.keys() == {"p1", "p2"}
    for product in (one, other):
        card = found[product.product_id]
        assert card == tuple(getattr(product, column) for column in card._fields)
        assert card.label == product.label


@pytest.mark.parametrize("column", ["name", "department", "category", "type", "brand", "size"])
def test_a_text_may_hold_whatever_a_text_can_hold(make_product: MakeProduct, column: str) -> None:
    make_product("p1", **{column: ODD})
    make_product("p2", **{column: '"]\n["p3", "'})
    found = now.look(["p1", "p2", "p3"]).products
    assert found.keys() == {"p1", "p2"}
    assert getattr(found["p1"], column) == ODD
    assert getattr(found["p2"], column) == '"]\n["p3", "'


@pytest.mark.parametrize("odd", [ODD, "", "'; --", "{p1,p2}", "p1,p2", "NULL"])
def test_an_odd_id_finds_nothing_and_breaks_nothing(make_product: MakeProduct, shopper: int, odd: str) -> None:
    make_product("p1")
    events.record(shopper, [events.NewEvent(product_id="p1", kind="purchase")])
    found = now.look([odd, "p1"], 0, shopper, [odd, "p1"])
    assert found.products.keys() == {"p1"}
    assert found.taken == Taken(frozenset({"p1"}), frozenset())


@pytest.mark.parametrize(
    "changed", [{"price_cents": 777}, {"stock": 0}, {"hidden": True}, {"name": "Another"}, {"size": "9 L"}]
)
def test_what_was_told_before_is_not_told_again_once_it_has_changed(
    make_product: MakeProduct, changed: dict[str, Any]
) -> None:
    make_product("p1")
    before = now.look(["p1"]).products["p1"]
    Product.objects.filter(product_id="p1").update(**changed)
    assert now.look(["p1"]).products["p1"] == before._replace(**changed)


def test_a_cart_comes_in_the_order_in_which_it_was_filled(shelf: list[Product]) -> None:
    cart, other = Cart.objects.create(), Cart.objects.create()
    for product_id, quantity in (("p09", 2), ("p01", 1), ("p05", 3)):
        cart.add(product_id, quantity)
    other.add("p02", 1)
    cart.put("p09", 4)
    assert list(now.look(cart_id=cart.pk).cart.items()) == [("p09", 4), ("p01", 1), ("p05", 3)]


def test_taken_is_what_was_bought_of_those_asked_for_and_all_that_was_dismissed(shopper: int) -> None:
    did = [("p1", "purchase"), ("p1", "purchase"), ("p2", "purchase"), ("p3", "dismiss"), ("p4", "dismiss")]
    did += [("p4", "purchase"), ("p5", "view"), (ODD, "purchase"), (ODD, "dismiss")]
    events.record(shopper, [events.NewEvent(product_id=product_id, kind=kind) for product_id, kind in did])
    asked = ["p1", "p3", "p4", "p5", "p9", ODD]
    assert now.look((), 0, shopper, asked).taken == Taken(frozenset({"p1", "p4", ODD}), frozenset({"p3", "p4", ODD}))
    assert now.look((), 0, shopper + 1, asked).taken == now.look((), 0, None, asked).taken == NOBODY


def test_where_there_is_nothing_the_answer_is_empty(make_product: MakeProduct, shopper: int) -> None:
    make_product("p1")
    nothing = now.Now({}, {}, NOBODY)
    assert now.look(["p9"], 12345, shopper, ["p9"]) == nothing
    assert now.look(["p1"]).products.keys() == {"p1"}
    assert now.look(cart_id=12345) == nothing


def test_nothing_is_asked_where_there_is_nothing_to_look_at_and_else_one_statement(
    make_product: MakeProduct, shopper: int, django_assert_num_queries: Any
) -> None:
    make_product("p1")
    with django_assert_num_queries(0):
        assert now.look(shopper_id=shopper) == now.Now({}, {}, NOBODY)
    with django_assert_num_queries(1):
        now.look({"p1", "p2"}, 1, shopper, {"p1", "p3"})
