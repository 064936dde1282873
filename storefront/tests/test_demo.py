"""The demo's doors are open in the demo and nowhere else."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from recommender import events, privacy
from storefront import demo
from storefront.models import Account, Product
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _portraits_anew() -> None:
    demo._telling.cache_clear()


def household(key: str, bought: dict[str, int], is_demo: bool = True) -> Account:
    [shopper_id] = privacy.join()
    user = User.objects.create(username=f"shopper-{key}")
    events.load(
        events.LoadedEvent(shopper_id, product_id, "purchase", 1, "b", datetime(2026, 1, 1, tzinfo=UTC))
        for product_id, times in bought.items()
        for _ in range(times)
    )
    return Account.objects.create(user=user, shopper_id=shopper_id, is_demo=is_demo, household=f"Household {key}")


@pytest.fixture
def two_households(make_product: MakeProduct) -> None:
    make_product("baby", category="Baby food", popularity=10)
    make_product("pizza", category="Frozen pizza", popularity=10)
    make_product("milk", category="Milk", popularity=80)
    household("900", {"baby": 9, "milk": 10})
    household("901", {"pizza": 9, "milk": 10})


def test_the_page_says_what_each_household_buys_more_than_others(client: Client, two_households: None) -> None:
    page = client.get("/demo/").content.decode()
    assert "Household 900" in page
    assert "Buys a lot of baby food." in page
    assert "Buys a lot of frozen pizza." in page
    assert "lot of milk" not in page


def test_a_household_is_found_by_its_number(client: Client, two_households: None) -> None:
    page = client.get("/demo/", {"q": "901"}).content.decode()
    assert "Household 901" in page
    assert "Household 900" not in page


@pytest.mark.parametrize("query", ["77", "\0", "%", "x" * 5_000])
def test_a_household_that_is_not_there_is_said_so(client: Client, two_households: None, query: str) -> None:
    assert client.get("/demo/", {"q": query}).status_code == 200


def test_the_dozen_differ_in_their_foremost_taste(make_product: MakeProduct) -> None:
    for number in range(15):
        make_product(f"p{number}", category=f"Category {number}", popularity=1)
        for copy in range(2):
            household(f"{number}-{copy}", {f"p{number}": 9})
    chosen = demo._telling(0, Account.objects.count())
    assert len(chosen) == demo.SHOWN
    assert len({portrait.tastes[0] for portrait in chosen}) == demo.SHOWN


def test_signing_in_needs_no_password_and_brings_the_households_history(client: Client, two_households: None) -> None:
    response = client.post("/demo/sign-in", {"shopper": "900"})
    assert response.status_code == 302
    account = Account.objects.get(household="Household 900")
    assert client.session["shopper_id"] == account.shopper_id
    assert client.session["_auth_user_id"] == str(account.user_id)


@pytest.mark.parametrize("shopper", ["902", "", "\0", "900 or 1=1", "x" * 5_000])
def test_nobody_else_can_be_signed_in_as(client: Client, two_households: None, shopper: str) -> None:
    assert client.post("/demo/sign-in", {"shopper": shopper}).status_code == 404
    assert "_auth_user_id" not in client.session


def test_an_ordinary_account_cannot_be_entered_here(client: Client) -> None:
    household("7", {}, is_demo=False)
    assert client.post("/demo/sign-in", {"shopper": "7"}).status_code == 404


def test_signing_in_is_a_post_with_a_token(two_households: None) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.get("/demo/sign-in").status_code == 405
    assert client.post("/demo/sign-in", {"shopper": "900"}).status_code == 403


def test_the_load_tests_learn_who_may_come_and_what_sells(client: Client, two_households: None) -> None:
    Product.objects.filter(product_id="baby").update(stock=0)
    listed = client.get("/demo/weights").json()
    assert listed["shoppers"][0] == {"shopper": "900", "name": "Household 900", "weight": 1}
    assert listed["products"] == [{"product_id": "milk", "weight": 80}, {"product_id": "pizza", "weight": 10}]


@pytest.mark.parametrize("address", ["/demo/", "/demo/weights"])
def test_outside_the_demo_there_is_nothing_here(
    client: Client, two_households: None, settings: Settings, address: str
) -> None:
    settings.DEMO = False
    assert client.get(address).status_code == 404


def test_outside_the_demo_nobody_is_signed_in(client: Client, two_households: None, settings: Settings) -> None:
    settings.DEMO = False
    assert client.post("/demo/sign-in", {"shopper": "900"}).status_code == 404
    assert "_auth_user_id" not in client.session


def test_the_catalogues_office_opens(admin_client: Client, two_households: None) -> None:
    for address in ("product/", "product/?q=pizza", "product/milk/change/", "order/", "account/"):
        assert admin_client.get(f"/admin/storefront/{address}").status_code == 200


def test_the_catalogues_office_says_what_it_did(admin_client: Client, two_households: None) -> None:
    chosen = {"action": "hide", "_selected_action": [Product.objects.get(product_id="milk").pk]}
    answer = admin_client.post("/admin/storefront/product/", chosen, follow=True)
    assert "1 hidden." in answer.content.decode()
    assert "1 hidden." not in admin_client.get("/admin/storefront/product/").content.decode()
