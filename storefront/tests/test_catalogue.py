import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from ml.contract import PRODUCT_COLUMNS
from storefront import catalogue
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db


def test_the_model_learns_the_visible_products_in_the_columns_of_the_contract(make_product: MakeProduct) -> None:
    make_product("1", name="Milk", type="Whole", brand="Acme", size="1 l", price_cents=129, stock=0)
    make_product("2", hidden=True)
    [row] = catalogue.product_rows()
    assert tuple(row) == PRODUCT_COLUMNS
    assert row == {
        "product_id": "1",
        "name": "Milk",
        "department": "Dairy",
        "category": "Milk",
        "type": "Whole",
        "brand": "Acme",
        "size": "1 l",
        "price": 1.29,
    }


def test_the_shop_knows_its_products_hidden_ones_too(make_product: MakeProduct) -> None:
    make_product("1")
    make_product("2", hidden=True)
    assert catalogue.known(["1", "2", "3"]) == {"1", "2"}


def test_the_settings_that_recommender_reads_name_this_catalogue() -> None:
    assert import_string(settings.RECOMMENDER["CATALOGUE"]) is catalogue.product_rows
    assert import_string(settings.RECOMMENDER["KNOWN"]) is catalogue.known
