"""Every type of page, looked at by axe-core in a real browser: no fault against WCAG 2.2 AA, nor its best practice.

Both pairs here together try each colour scheme and each width once; ``pytest -m proof`` runs the other two.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.db import OperationalError
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from recommender import keys
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, kept_slates

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
IDS = [f"p{number:02}" for number in range(1, 31)]
PASSWORD = "a long and quiet river"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def shop(shelf: list[Product], make_product: MakeProduct, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    for number in range(30):
        name, brand = f"Cheddar cheese {number:02}", f"Brand {number % 12:02}"
        make_product(
            f"c{number:02}", name=name, type="Cheddar cheese", category="Cheese", brand=brand, stock=number % 4
        )
    make_product("gone", name="Product gone", stock=0)
    make_product("past", name="Product past", hidden=True)
    kept_slates(keys.popular(), popular=IDS)
    kept_slates(keys.product("p01"), for_you=[*IDS[12:24], "p01"], together=IDS[1:5], similar=IDS[5:13])
    kept_slates(keys.cart(["p01"]), complete=[*IDS[24:28], "p01"])


@pytest.fixture(
    params=[
        ("dark", 390),
        ("light", 1280),
        pytest.param(("light", 390), marks=pytest.mark.proof),
        pytest.param(("dark", 1280), marks=pytest.mark.proof),
    ],
    ids=lambda chosen: f"{chosen[0]}-{chosen[1]}",
)
def page(request: Any, browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    scheme, width = request.param
    context = browser.new_context(
        base_url=live_server.url, color_scheme=scheme, viewport={"width": width, "height": 844}, reduced_motion="reduce"
    )
    yield context.new_page()
    context.close()


def expect_no_fault(page: Page, name: str) -> None:
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [f"{name}: {fault['id']}: {node['html'][:150]}" for fault in found for node in fault["nodes"]] == []


def look_at(page: Page, *addresses: str) -> None:
    for address in addresses:
        page.goto(address)
        expect_no_fault(page, address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} is pushed sideways"


def test_finding(page: Page) -> None:
    look_at(
        page,
        "/",
        "/department/dairy/?brand=Brand+01&brand=Brand+11&stock=in",
        "/department/dairy/cheese/?from=1&page=2",
        "/department/dairy/?brand=Nobody",
        "/search/?q=cheddar",
        "/search/?q=chedder",
        "/search/?q=cheddar+xylophone",
        "/search/",
    )
    page.goto("/")
    page.get_by_role("button", name="Not for me: Product p01").click()
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    expect_no_fault(page, "dismissed")
    page.goto("/department/dairy/")
    box = page.get_by_role("combobox", name="Search the shop")
    box.press_sequentially("chedd")
    expect(page.get_by_role("option").first).to_be_visible()
    box.press("ArrowDown")
    expect_no_fault(page, "suggestions")
    box.press("Escape")
    filters = page.get_by_role("button", name="Filter", exact=True)
    if filters.is_visible():
        filters.click()
        expect(page.get_by_role("complementary", name="Filters")).to_be_visible()
        expect_no_fault(page, "filters as a drawer")


def test_buying(page: Page) -> None:
    look_at(page, "/cart/", "/product/gone/", "/product/past/", "/product/p01/")
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_role("dialog", name="Your cart")).to_contain_text("Product p01")
    expect_no_fault(page, "drawer")
    look_at(page, "/cart/")
    page.get_by_role("button", name="Remove Product p01").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    expect_no_fault(page, "taken out of the cart")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Quantity of Product p01")).to_have_value("1")
    look_at(page, "/checkout/")
    page.get_by_role("button", name="Place the order").evaluate("it => it.form.noValidate = true")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect_no_fault(page, "checkout refused")
    order(page)
    expect_no_fault(page, "confirmation")


def order(page: Page) -> None:
    """From the checkout's page."""
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Address").fill("1 Long Lane")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


def test_account_and_privacy(page: Page, django_user_model: type[User]) -> None:
    django_user_model.objects.create_user("ada", password=PASSWORD)
    look_at(page, "/demo/", "/account/sign-up/", "/account/password/forgotten/", "/account/sign-in/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Please enter a correct username")).to_be_visible()
    expect_no_fault(page, "sign-in refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/privacy/")
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("heading", name="Personal recommendations are on")).to_be_visible()
    with page.expect_response("**/api/events"):
        page.goto("/product/p01/")
    look_at(
        page,
        "/",  # with the reasons of somebody who is known
        "/why/",
        "/privacy/",
        "/account/",
        "/account/orders/",
        "/account/password/",
        "/account/sign-out-everywhere/",
        "/account/delete/",
    )
    page.goto("/product/p01/")
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_role("dialog", name="Your cart")).to_contain_text("Product p01")
    page.goto("/checkout/")
    order(page)
    expect_no_fault(page, "confirmation of one's own order")
    look_at(page, "/account/orders/")
    expect(page.locator("main")).to_contain_text("Product p01")


def test_the_link_to_a_new_password(page: Page, django_user_model: type[User]) -> None:
    ada = django_user_model.objects.create_user("ada", password=PASSWORD, email="ada@example.com")
    look_at(page, "/account/password/nobody/no-token/")
    expect(page.get_by_role("heading", name="This link works no more")).to_be_visible()
    user = urlsafe_base64_encode(force_bytes(ada.pk))
    look_at(page, f"/account/password/{user}/{default_token_generator.make_token(ada)}/")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password confirmation").fill("another")
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("The two password fields didn’t match.")).to_be_visible()
    expect_no_fault(page, "new password refused")


def test_when_something_is_wrong(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at(page, "/search/?" + "&".join(["q=milk"] * 1001))
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    look_at(page, "/nowhere/", "/account/sign-in/")
    page.get_by_role("button", name="Sign in", exact=True).evaluate("it => it.form.noValidate = true")
    page.context.clear_cookies()
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="This page was open for too long")).to_be_visible()
    expect_no_fault(page, "403 of a stale form")
    monkeypatch.setattr("storefront.limits.Limit.exceeded", lambda *_: True)
    page.goto("/account/password/forgotten/")
    page.get_by_label("Email").fill("ada@example.com")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="That was too often")).to_be_visible()
    expect_no_fault(page, "429")

    page.goto("/product/p01/")
    page.context.set_offline(True)
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_text("There is no connection. Nothing is lost.")).to_be_visible()
    expect_no_fault(page, "no connection")
    page.context.set_offline(False)
    monkeypatch.setattr("storefront.panels.for_page", away)
    look_at_error(page, "Back in a moment")
    monkeypatch.setattr("storefront.panels.for_page", lambda *_, **__: 1 / 0)
    look_at_error(page, "Something broke on our side")


def away(*_: Any, **__: Any) -> Any:
    raise OperationalError("the database is away")


def look_at_error(page: Page, heading: str) -> None:
    page.goto("/product/p02/")
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect_no_fault(page, heading)
