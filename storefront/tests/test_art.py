"""The illustrations: always an image, never a program, small, and the same for the same product."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from storefront import art, index, packaging
from storefront.models import Label, Product

WORDS = st.text(max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "\x00\x0b", "]]>", "&amp;", "\ud800", "6 PK 12 OZ", "١٢ oz", "{a}{d}", "W" * 200]
)


def product(name: str = "Chicken noodle soup, 10.5 oz", product_id: str = "1", **fields: str) -> Label:
    texts = {
        "department": "Food cupboard",
        "category": "Soup",
        "type": "Condensed soup",
        "brand": "",
        "size": "10.5 oz",
    }
    return Label(product_id=product_id, name=name, **(texts | fields))


def saved(name: str = "Chicken noodle soup, 10.5 oz") -> Product:
    return Product.objects.create(price_cents=100, stock=1, **product(name)._asdict())


def elements(svg: str) -> set[str]:
    return {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}


@given(name=WORDS, product_id=WORDS, department=WORDS, category=WORDS, type=WORDS, brand=WORDS, size=WORDS)
@settings(max_examples=200)
def test_whatever_the_catalogue_says_the_drawing_is_well_formed_small_and_harmless(**texts: str) -> None:
    svg = art.draw(product(**texts))
    assert elements(svg) <= {
        "svg", "defs", "linearGradient", "stop", "clipPath", "g", "use", "path", "rect", "circle", "ellipse", "text",
    }  # fmt: skip
    assert len(svg.encode()) <= 4096
    attributes = [value for element in ElementTree.fromstring(svg).iter() for value in element.attrib.values()]
    assert not any("{" in value for value in attributes)  # every colour left open in a shape was filled


@pytest.mark.parametrize("shape", packaging.shapes())
def test_every_shape_draws_within_4_kb_with_the_longest_label(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "package_of", lambda *_: shape)
    for number in range(20):  # all layouts
        svg = art.draw(product("Wwww Wwwww Wwwww Wwwww Wwww", str(number), size="24 PK 12 OZ BOTTLE"))
        assert "svg" in elements(svg)
        assert len(svg.encode()) <= 4096


def test_every_rule_names_a_shape_an_ink_or_a_picture_that_exists() -> None:
    rules = packaging._read()
    assert {rule["shape"] for rule in rules["packages"]} <= set(packaging.shapes())
    assert {rule["ink"] for rule in rules["flavours"]} | set(packaging.printed()) <= set(packaging.inks())
    assert {packaging.shape(name).ink for name in packaging.shapes()} - {""} <= set(packaging.inks())
    assert {rule["picture"] for rule in rules["themes"]} | {packaging.picture_of("")} <= set(packaging.pictures())


@pytest.mark.parametrize(
    ("type_", "category", "department", "size", "expected"),
    [
        ("Condensed soup", "Soup", "Food cupboard", "10.5 oz", "can"),
        ("SOFT DRINKS 12/18&15PK CAN CAR", "SOFT DRINKS", "GROCERY", "12 OZ", "drink"),
        ("SFT DRNK 2 LITER BTL CARB INCL", "SOFT DRINKS", "GROCERY", "2 L", "soda"),
        ("Corn", "Vegetables - shelf stable", "Grocery", "15 oz", "can"),
        ("Corn yellow", "Corn", "Produce", "", "corn"),
        ("Bananas", "Tropical fruit", "Produce", "40 lb", "banana"),
        ("Avocados", "Bananas & tropical fruit", "Fruit & vegetables", "", "avocado"),
        ("Celery", "Vegetables", "Fruit & vegetables", "", "celery"),
        ("Fresh Bagels", "Fresh rolls", "Bakery", "6 ct", "bagels"),
        ("FLUID MILK WHITE ONLY", "FLUID MILK PRODUCTS", "GROCERY", "1 GAL", "milkjug"),
        ("Toothpaste", "Oral hygiene", "Drug", "6 oz", "tube"),
        ("Kids cereal", "Cold cereal", "Grocery", "14 oz", "box"),
        ("Mainstream white bread", "Bread", "Grocery", "20 oz", "loaf"),
        ("Toilet tissue", "Bath tissues", "Household", "12 ct", "rolls"),
        ("Eggs - large", "Eggs", "Grocery", "1 dz", "eggs"),
        ("", "", "", "", "box"),
    ],
)
def test_the_packaging_follows_from_type_category_and_size(
    type_: str, category: str, department: str, size: str, expected: str
) -> None:
    assert packaging.package_of(type_, category, department, size) == expected


def test_a_six_pack_shows_more_than_one() -> None:
    single = art.draw(product("Cola", type="Soft drink can", category="Soft drinks", size="12 oz"))
    six = art.draw(product("Cola", type="Soft drink can", category="Soft drinks", size="6 PK 12 oz"))
    assert single.count('href="#p"') == 1
    assert six.count('href="#p"') == 3


def test_two_products_of_one_kind_look_different_and_one_product_looks_the_same_twice() -> None:
    drawings = {art.draw(product(product_id=str(number))) for number in range(10)}
    assert len(drawings) > 4
    assert art.draw(product(product_id="7")) == art.draw(product(product_id="7"))


def test_two_brands_of_one_thing_bear_their_own_names_and_colours() -> None:
    cola = [product("Cola", brand=brand, type="Soft drink bottle", category="Soft drinks") for brand in ("Ada", "Bede")]
    one, other = map(art.draw, cola)
    assert "Ada" in one
    assert "Bede" in other
    assert one.replace("Ada", "Bede") != other


def test_no_label_is_in_the_shade() -> None:
    svg = art.draw(product())
    assert svg.index('fill="url(#g)"') < svg.index("<text")


def test_an_apple_is_never_blue() -> None:
    for number in range(50):
        svg = art.draw(product("Gala apples", str(number), type="Apples gala", category="Apples", department="Produce"))
        assert packaging.inks()["tomato"].own in svg


@pytest.mark.django_db
def test_the_picture_may_be_kept_for_ever_when_the_address_names_its_version(client: Client) -> None:
    soup = saved()
    response = client.get("/art/1.svg", {"v": art.version(soup.label)})
    assert response.headers["Content-Type"].startswith("image/svg+xml")
    assert "immutable" in response.headers["Cache-Control"]
    assert "immutable" not in client.get("/art/1.svg").headers["Cache-Control"]
    assert "immutable" not in client.get("/art/1.svg", {"v": "older"}).headers["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/product/1/", "/department/food-cupboard/", "/search/suggest/?q=chicken"])
def test_pages_ask_for_the_version_that_may_be_kept_for_ever(client: Client, address: str) -> None:
    for name in ("Chicken noodle soup", "Chicken soup"):
        Product.objects.all().delete()
        saved(name)
        index.refresh()
        (picture,) = set(re.findall(r'src="(/art/1[^"]+)"', client.get(address).content.decode()))
        assert "immutable" in client.get(picture).headers["Cache-Control"]


@pytest.mark.django_db
def test_a_browser_that_has_the_picture_gets_304_until_the_product_changes(client: Client) -> None:
    soup = saved()
    etag = client.get("/art/1.svg").headers["ETag"]
    assert client.get("/art/1.svg", headers={"If-None-Match": etag}).status_code == 304
    soup.name = "Tomato soup"
    soup.save()
    changed = client.get("/art/1.svg", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert b"Tomato" in changed.content


@pytest.mark.django_db
def test_a_product_that_does_not_exist_has_no_picture(client: Client) -> None:
    assert client.get("/art/nothing.svg").status_code == 404
