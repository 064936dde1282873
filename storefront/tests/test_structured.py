"""What search engines read of a product, whatever it is called."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from storefront import index
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates

pytestmark = pytest.mark.django_db


def graph(client: Client, address: str) -> dict[str, Any]:
    """What the page tells, by type."""
    text = client.get(address).content.decode()
    (told,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', text, re.DOTALL)
    found = json.loads(told)
    assert found["@context"] == "https://schema.org"
    return {one["@type"]: one for one in found["@graph"]}


def test_a_product_is_offered_at_its_price(client: Client, make_product: MakeProduct) -> None:
    make_product("p1", brand="Barnton", size="8 oz", price_cents=1205)
    told = graph(client, "/product/p1/")["Product"]
    assert told["name"] == "Product p1"
    assert told["brand"] == {"@type": "Brand", "name": "Barnton"}
    assert (told["sku"], told["size"], told["category"]) == ("p1", "8 oz", "Dairy > Milk")
    assert told["offers"]["price"] == "12.05"
    assert told["offers"]["priceCurrency"] == "USD"
    assert told["offers"]["availability"] == "https://schema.org/InStock"
    assert told["url"] == "http://testserver/product/p1/"
    assert client.get(told["image"]).headers["Content-Type"].startswith("image/svg+xml")


@pytest.mark.parametrize(("change", "said"), [({"stock": 0}, "OutOfStock"), ({"hidden": True}, "Discontinued")])
def test_what_cannot_be_bought_is_not_offered_as_available(
    client: Client, make_product: MakeProduct, change: dict[str, Any], said: str
) -> None:
    make_product("p1", **change)
    assert graph(client, "/product/p1/")["Product"]["offers"]["availability"] == f"https://schema.org/{said}"


def test_breadcrumbs_lead_from_home_to_the_product(client: Client, make_product: MakeProduct) -> None:
    make_product("p1")
    index.refresh()
    steps = graph(client, "/product/p1/")["BreadcrumbList"]["itemListElement"]
    assert [step["position"] for step in steps] == [1, 2, 3, 4]
    assert [step["name"] for step in steps] == ["Home", "Dairy", "Milk", "Product p1"]
    for step in steps:
        assert client.get(step["item"]).status_code == 200


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "Cheese & <b>wine</b>", "\u2028", '"\\'])
def test_no_name_ends_the_element_it_stands_in(client: Client, make_product: MakeProduct, name: str) -> None:
    make_product("p1", name=name, brand=name)
    assert graph(client, "/product/p1/")["Product"]["name"] == name
    assert "<script>alert" not in client.get("/product/p1/").content.decode()


def test_a_product_that_is_sold_no_more_says_so_and_offers_similar_ones(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("similar", ["p05"])
    slates.put("together", ["p06"])
    Product.objects.filter(product_id="p01").update(hidden=True)
    response = client.get("/product/p01/")
    text = response.content.decode()
    assert response.status_code == 404  # so that nobody lists it
    assert "We no longer sell this." in text
    assert "Add to cart" not in text
    assert "data-view" not in text
    assert 0 < text.index('id="similar-p05"') < text.index('id="together-p06"')


def test_a_sold_out_product_offers_similar_ones_first(client: Client, shelf: list[Product], slates: Slates) -> None:
    slates.put("similar", ["p05"])
    slates.put("together", ["p06"])
    text = client.get("/product/p01/").content.decode()
    assert text.index('id="together-p06"') < text.index('id="similar-p05"')
    Product.objects.filter(product_id="p01").update(stock=0)
    text = client.get("/product/p01/").content.decode()
    assert "Sold out for now." in text
    assert text.index('id="similar-p05"') < text.index('id="together-p06"')
