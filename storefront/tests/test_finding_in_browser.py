"""Finding in a real browser: suggestions by keyboard, filters without a reload, and coming back to one's place."""

import re

import pytest
from playwright.sync_api import Page, expect

from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shelves(make_product: MakeProduct) -> None:
    for number in range(60):
        make_product(
            f"c{number:02}",
            name=f"Cheddar cheese {number:02}",
            type="Cheddar cheese",
            category="Cheese",
            brand=f"Brand {number % 12:02}",
            price_cents=100 + number * 10,
            stock=number % 4,
            popularity=100 - number,
        )
    make_product("tomato", name="Tomato soup", department="Cupboard", category="Soup", brand="Acme")


def shown(page: Page) -> list[str | None]:
    return [card.get_attribute("data-product") for card in page.locator("#results .card").all()]


def test_suggestions_are_walked_and_followed_by_keyboard(page: Page) -> None:
    page.goto("/")
    box = page.get_by_role("combobox", name="Search the shop")
    box.press_sequentially("chedd")
    listbox = page.get_by_role("listbox", name="Suggestions")
    expect(listbox.get_by_role("option")).to_have_count(4)
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#suggested")).to_have_text("4 suggestions")
    box.press("ArrowDown")
    box.press("ArrowDown")
    expect(listbox.get_by_role("option", selected=True)).to_have_attribute("id", "product-1")
    expect(box).to_have_attribute("aria-activedescendant", "product-1")
    expect(box).to_be_focused()
    box.press("Escape")
    expect(listbox).to_be_hidden()
    expect(box).to_have_value("chedd")
    box.press_sequentially("a")
    expect(listbox).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")
    page.wait_for_url("**/search/?q=Cheddar%20cheese")
    assert len(shown(page)) == 24


def test_enter_without_a_choice_searches_for_what_was_typed_and_a_mistake_is_forgiven(page: Page) -> None:
    page.goto("/")
    page.get_by_role("combobox").fill("tomatto")
    page.get_by_role("combobox").press("Enter")
    expect(page.get_by_text("Showing results for tomato.")).to_be_visible()
    expect(page.locator("#results mark")).to_have_text("Tomato")


def test_filters_work_without_a_reload_and_back_takes_the_last_one_back(page: Page) -> None:
    page.goto("/department/dairy/")
    page.evaluate("window.sameDocument = true")
    brand = page.get_by_role("checkbox", name=re.compile("Brand 01"))
    brand.press("Space")
    expect(page.get_by_role("status").filter(has_text="5 products")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/department/dairy/\?brand=Brand\+01$"))
    expect(brand).to_be_checked()
    expect(brand).to_be_focused()
    page.get_by_role("checkbox", name=re.compile(r"\$1 to \$2")).check()
    expect(page.locator("#count")).to_have_text("1 product")
    assert page.evaluate("window.sameDocument") is True
    page.go_back()
    expect(page.locator("#count")).to_have_text("5 products")
    expect(page.get_by_role("checkbox", name=re.compile(r"\$1 to \$2"))).not_to_be_checked()
    page.get_by_role("link", name="Remove the filter Brand 01").click()
    expect(page.locator("#count")).to_have_text("60 products")
    page.get_by_label("Sort by").select_option("-price")
    expect(page.locator("#results .card").first).to_have_attribute("data-product", "c59")


def test_on_a_phone_the_filters_are_a_drawer_that_stays_open_while_one_chooses(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/department/dairy/")
    drawer = page.get_by_role("complementary", name="Filters")
    expect(drawer).to_be_hidden()
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(drawer).to_be_visible()
    page.get_by_role("checkbox", name=re.compile("Brand 01")).check()
    expect(page.locator("#count")).to_have_text("5 products")
    expect(drawer).to_be_visible()
    page.get_by_role("button", name="Show 5 products").click()
    expect(drawer).to_be_hidden()
    assert len(shown(page)) == 5
