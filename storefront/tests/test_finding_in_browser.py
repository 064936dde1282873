"""Finding in a real browser: suggestions by keyboard, filters without a reload, and coming back to one's place."""
# ruff: noqa: F811 - the fixtures are test_browser's

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from storefront.tests.conftest import MakeProduct
from storefront.tests.test_browser import browser, page, pytestmark  # noqa: F401

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


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


def scrolled(page: Page) -> float:
    top: float = page.evaluate("scrollY")
    return top


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


def test_coming_back_from_a_product_finds_the_place_in_a_lengthened_list(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/department/dairy/")
    page.get_by_role("button", name="No, thanks").click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("link", name="Show more").press("Enter")
    expect(page.locator("#results .card")).to_have_count(48)
    expect(page.locator("#card-c24 .card-link")).to_be_focused()
    expect(page).to_have_url(re.compile(r"\?from=1&page=2$"))
    page.locator("#card-c40").scroll_into_view_if_needed()
    before = scrolled(page)
    page.locator("#card-c40 .card-link").click()
    page.wait_for_url("**/product/c40/")
    page.go_back()
    page.wait_for_url(re.compile(r"\?from=1&page=2$"))
    expect(page.locator("#results .card")).to_have_count(48)
    page.wait_for_function("top => Math.abs(scrollY - top) < 50", arg=before)


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
    page.get_by_role("button", name="Show the products").click()
    expect(drawer).to_be_hidden()
    assert len(shown(page)) == 5


def test_searching_and_filtering_need_no_javascript(browser: Browser, live_server: LiveServer) -> None:
    plain = browser.new_context(java_script_enabled=False, base_url=live_server.url).new_page()
    plain.goto("/")
    plain.get_by_label("Search the shop").fill("chedder")
    plain.get_by_role("button", name="Search").click()
    plain.get_by_role("checkbox", name=re.compile("Brand 01")).check()
    plain.get_by_role("button", name="Show these").click()
    assert len(shown(plain)) == 5
    plain.get_by_label("Sort by").select_option("price")
    plain.get_by_role("button", name="Sort").click()
    assert shown(plain)[0] == "c01"
    plain.get_by_role("link", name="Remove the filter Brand 01").click()
    plain.get_by_role("link", name="Show more").click()
    assert len(shown(plain)) == 24
    plain.set_viewport_size({"width": 390, "height": 844})
    plain.get_by_role("button", name="Filter", exact=True).click()
    expect(plain.get_by_role("button", name="Show these")).to_be_visible()
    plain.context.close()


@pytest.fixture(params=[("light", 390), ("dark", 390), ("light", 1280), ("dark", 1280)], ids=str)
def looked_at(request: Any, browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    scheme, width = request.param
    context = browser.new_context(
        base_url=live_server.url, color_scheme=scheme, viewport={"width": width, "height": 844}, reduced_motion="reduce"
    )
    yield context.new_page()
    context.close()


def faults(page: Page) -> list[str]:
    page.wait_for_load_state("networkidle")
    found = Axe().run(page, options={"runOnly": WCAG}).response["violations"]
    return [f"{fault['id']}: {node['html'][:150]}" for fault in found for node in fault["nodes"]]


def test_no_page_that_finds_breaks_an_accessibility_rule(looked_at: Page) -> None:
    for address in (
        "/department/dairy/?brand=Brand+01&brand=Brand+11&stock=in",
        "/department/dairy/cheese/?from=1&page=2",
        "/search/?q=chedder",
        "/search/?q=cheddar+xylophone",
        "/search/",
    ):
        looked_at.goto(address)
        assert faults(looked_at) == [], address
    looked_at.goto("/department/dairy/")
    box = looked_at.get_by_role("combobox", name="Search the shop")
    box.press_sequentially("chedd")
    looked_at.locator("#suggestions [role=option]").first.wait_for()
    box.press("ArrowDown")
    assert faults(looked_at) == []
    box.press("Escape")
    filters = looked_at.get_by_role("button", name="Filter", exact=True)
    if filters.is_visible():
        filters.click()
        assert faults(looked_at) == []
