"""The shop in a real browser: what shop.js and htmx add, and that nothing breaks the page's policy."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import signing
from playwright.sync_api import Browser, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from recommender import privacy
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates

IDS = [f"p{number:02}" for number in range(1, 31)]

pytestmark = pytest.mark.django_db(transaction=True)


def shown(page: Page) -> list[str | None]:
    cards = page.locator("#panel-for_you .card")
    return [card.get_attribute("data-product") for card in cards.all()]


def kept(page: Page, kind: str) -> list[dict[str, Any]]:
    """What the shop has stored of this browser's shopper."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    session = signing.loads(cookies["sessionid"], salt="django.contrib.sessions.backends.signed_cookies")
    return [event for event in privacy.known(session["shopper_id"])["events"] if event["kind"] == kind]


def until(page: Page, ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The answer as soon as there is one: what a page sends while it is left arrives when it arrives."""
    for _ in range(100):
        if answer := ask():
            return answer
        page.wait_for_timeout(50)
    return []


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_panel_becomes_personal_without_a_reload_or_a_shift(
    page: Page, shelf: list[Product], slates: Slates, width: int
) -> None:
    page.set_viewport_size(ViewportSize(width=width, height=2_400))  # all of the page is in sight
    slates.put("for_you", IDS[:12], source="popular", slate_id="old")
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => { for (const entry of list.getEntries()) "
        "if (!entry.hadRecentInput) window.shift += entry.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    with page.expect_response("**/api/events") as reported:
        page.goto("/product/p30/")
    assert reported.value.status == 202
    page.evaluate("window.sameDocument = true")
    slates.put("for_you", IDS[12:24], source="viewed", slate_id="new", because="p30")
    expect(page.locator("#panel-for_you")).to_have_attribute("data-source", "viewed")
    expect(page.locator("#panel-for_you")).to_contain_text("Because you looked at Product p30")
    assert shown(page) == IDS[12:24]
    assert page.evaluate("window.sameDocument") is True
    assert page.evaluate("window.shift") == 0


def test_impressions_and_clicks_carry_the_slates_stamps(page: Page, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", IDS[:12])
    page.goto("/")
    page.get_by_role("button", name="Yes, remember").click()
    with page.expect_response("**/api/events"):
        page.wait_for_load_state()
    page.locator("#panel-for_you .card-link").nth(1).click()
    page.wait_for_url("**/product/p02/")
    (click,) = until(page, lambda: kept(page, "click"))
    stamps = (click["product_id"], click["slate_id"], click["model_version"], click["arm"], click["position"])
    assert stamps == ("p02", "slate-1", "model-1", "arm-1", 2)
    impressions = kept(page, "impression")
    assert len({event["product_id"] for event in impressions}) == len(impressions) > 3
    assert {event["slate_id"] for event in impressions} == {"slate-1"}


def test_without_consent_no_impression_leaves_the_browser(page: Page, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", IDS[:12])
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/api/" in request.url else None)
    page.goto("/")
    page.locator("#panel-for_you .card").last.scroll_into_view_if_needed()
    page.wait_for_timeout(1_500)
    assert sent == []


def test_not_for_me_can_be_undone_by_keyboard(page: Page, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", IDS[:12])
    page.goto("/")
    page.get_by_role("button", name="Not for me: Product p01").focus()
    page.keyboard.press("Enter")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator(".htmx-added")).to_have_count(0)  # till then the button is a plain form's: faster than any hand
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Not for me: Product p01")).to_be_focused()
    assert shown(page) == IDS[:12]


def test_adding_to_the_cart_keeps_the_page(page: Page, shelf: list[Product], slates: Slates) -> None:
    page.goto("/department/dairy/")
    page.evaluate("window.sameDocument = true")
    add = page.get_by_role("button", name="Add Product p02 to the cart")
    add.click()
    expect(page.locator("#status")).to_contain_text("Product p02 is in your cart.")
    expect(page.locator("#cart-link")).to_contain_text(re.compile(r"Cart\s*1"))
    expect(add).to_have_text("In cart: 1")
    assert page.evaluate("window.sameDocument") is True


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_a_row_turns_by_buttons_and_says_where_it_ends(
    browser: Browser, live_server: LiveServer, shelf: list[Product], slates: Slates, motion: Any
) -> None:
    slates.put("for_you", IDS[:12])
    size = ViewportSize(width=1280, height=844)
    page = browser.new_context(base_url=live_server.url, viewport=size, reduced_motion=motion).new_page()
    page.goto("/")
    back = page.get_by_role("button", name="Earlier products of Recommended for you")
    on = page.get_by_role("button", name="Further products of Recommended for you")
    expect(back).to_be_disabled()
    expect(page.locator("#for_you-p12")).not_to_be_in_viewport()
    on.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#for_you-p11")).to_be_in_viewport(ratio=0.9)
    expect(back).to_be_enabled()
    page.keyboard.press("Enter")
    expect(on).to_be_disabled()
    expect(on).to_be_focused()
    back.click()
    expect(page.locator("#for_you-p02")).to_be_in_viewport(ratio=0.9)
    back.click()
    expect(page.locator("#for_you-p01")).to_be_in_viewport(ratio=0.9)
    page.context.close()


def test_others_come_without_a_reload_and_the_keyboard_stays_where_it_was(
    page: Page, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS[:24])
    page.goto("/")
    page.evaluate("window.sameDocument = true")
    others = page.get_by_role("link", name="Show others")
    others.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#for_you-p13")).to_be_visible()
    expect(others).to_be_focused()
    assert shown(page) == IDS[12:24]
    expect(page.locator(".htmx-added, .htmx-settling, .htmx-request")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("#for_you-p01")).to_be_visible()
    assert shown(page) == IDS[:12]
    assert page.evaluate("window.sameDocument") is True


def test_without_javascript_others_come_as_a_page_and_rows_have_no_dead_buttons(
    browser: Browser, live_server: LiveServer, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS[:24])
    plain = browser.new_context(java_script_enabled=False, base_url=live_server.url).new_page()
    plain.goto("/")
    expect(plain.locator(".turn").first).to_be_hidden()
    plain.get_by_role("link", name="Show others").click()
    assert shown(plain) == IDS[12:24]
    last = plain.locator("#for_you-p24 .card-link")
    last.focus()
    expect(last).to_be_in_viewport(ratio=0.9)
    plain.get_by_role("button", name="Not for me: Product p24").click()
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator("#for_you-p24")).to_be_visible()
    plain.context.close()


def test_the_drawer_opens_holds_the_focus_and_gives_it_back(page: Page, shelf: list[Product], slates: Slates) -> None:
    page.goto("/product/p01/")
    add = page.get_by_role("button", name="Add to cart")
    add.click()
    drawer = page.get_by_role("dialog", name="Your cart")
    expect(drawer).to_contain_text("Product p01")
    expect(page.get_by_role("heading", name="Your cart")).to_be_focused()
    expect(drawer.get_by_role("status")).to_contain_text("Product p01 is in your cart.")
    drawer.get_by_role("button", name="One Product p01 more").press("Enter")
    expect(drawer.get_by_label("Quantity of Product p01")).to_have_value("2")
    expect(drawer.get_by_role("button", name="One Product p01 more")).to_be_focused()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(add).to_be_focused()
    expect(page.locator("#cart-link")).to_contain_text(re.compile(r"Cart\s*2"))


def test_what_was_removed_comes_back_by_keyboard(page: Page, shelf: list[Product], slates: Slates) -> None:
    page.goto("/product/p01/")
    page.get_by_role("button", name="Add to cart").click()
    expect(page.get_by_role("dialog")).to_contain_text("Product p01")
    page.goto("/cart/")
    page.get_by_role("button", name="Remove Product p01").press("Enter")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator("#status")).to_contain_text("Product p01 is taken out.")
    expect(page.locator(".htmx-added, .htmx-settling")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Quantity of Product p01")).to_have_value("1")


def test_without_a_connection_nothing_is_lost_and_all_can_be_tried_again(
    browser: Browser, live_server: LiveServer, shelf: list[Product], slates: Slates
) -> None:
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    page.goto("/product/p01/")
    context.set_offline(True)
    page.get_by_role("button", name="Add to cart").click()
    expect(page.locator("#status")).to_contain_text("There is no connection. Nothing is lost.")
    context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog")).to_contain_text("Product p01")
    context.close()


SKELETON = """card => {
  const [name, picture] = [".card-name", "img"].map(part => getComputedStyle(card.querySelector(part)));
  return name.color === "rgba(0, 0, 0, 0)" && picture.objectPosition !== "50% 50%";
}"""
# Whether it was ever one: it may come and go between two questions of a busy machine.
WATCHED = f"""card => {{
  const look = () => {{ window.skeletons ||= ({SKELETON})(card); requestAnimationFrame(look); }};
  look();
}}"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_while_others_are_fetched_each_card_is_a_skeleton_of_its_size_and_then_their_number_is_said(
    page: Page, shelf: list[Product], slates: Slates, motion: Any
) -> None:
    slates.put("for_you", IDS[:20])
    page.emulate_media(reduced_motion=motion)
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => { for (const entry of list.getEntries()) "
        "if (!entry.hadRecentInput) window.shift += entry.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    page.goto("/")
    held: list[Any] = []
    page.route("**/?others=*", lambda route: held.append(route))
    card = page.locator("#panel-for_you .card").first
    before = card.bounding_box()
    page.get_by_role("link", name="Show others").click()
    page.wait_for_function(SKELETON, arg=card.element_handle())
    assert card.bounding_box() == before
    assert card.evaluate("card => getComputedStyle(card.querySelector('img')).animationName") == (
        "none" if motion == "reduce" else "shimmer"
    )
    held[0].continue_()
    expect(page.locator("#for_you-p13")).to_be_visible()
    assert not card.evaluate(SKELETON)
    assert card.bounding_box() == before
    assert page.evaluate("window.shift") == 0
    expect(page.locator("#said")).to_have_text("12 other recommendations shown")
    expect(page.locator("#said")).to_have_attribute("role", "status")
    page.get_by_role("link", name="Show others").click()
    expect(page.locator("#said")).to_have_text("The first 12 recommendations again")


def test_skeletons_do_not_outlast_a_shop_that_does_not_answer(
    browser: Browser, live_server: LiveServer, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS[:24])
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    page.goto("/")
    page.evaluate("htmx.config.timeout = 2_000")
    page.route("**/?others=*", lambda _: None)
    card = page.locator("#panel-for_you .card").first
    card.evaluate(WATCHED)
    page.get_by_role("link", name="Show others").click()
    expect(page.locator("#status")).to_contain_text("That takes too long.")
    assert page.evaluate("window.skeletons")
    page.wait_for_function(f"card => !({SKELETON})(card)", arg=card.element_handle())
    assert shown(page) == IDS[:12]
    page.unroute("**/?others=*")
    page.evaluate("htmx.config.timeout = 30_000")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#for_you-p13")).to_be_visible()
    context.close()


def test_every_request_of_a_page_has_a_time_limit(page: Page, shelf: list[Product], slates: Slates) -> None:
    page.goto("/")
    assert 0 < page.evaluate("htmx.config.timeout") <= 10_000


def test_putting_aside_and_taking_back_are_said_to_who_does_not_see(
    page: Page, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS[:12])
    page.goto("/")
    page.get_by_role("button", name="Not for me: Product p01").click()
    expect(page.locator("#said")).to_have_text("Product p01 will not be shown again.")
    expect(page.locator(".htmx-added")).to_have_count(0)
    page.get_by_role("button", name=re.compile("Undo.*Product p01")).click()
    expect(page.locator("#said")).to_have_text("Product p01 is back.")


def test_a_long_name_is_whole_on_a_phone_in_lists_and_for_who_does_not_see(
    page: Page, make_product: MakeProduct, slates: Slates
) -> None:
    name = "Signature Broccoli Cheddar Frozen Stuffed Sandwiches"  # the longest of the demo
    make_product("long", name=f"Hearth & Field {name} 9 oz", brand="Hearth & Field", size="9 oz")
    slates.put("for_you", ["long"])
    page.set_viewport_size(ViewportSize(width=390, height=844))
    for address in ("/department/dairy/", "/"):
        page.goto(address)
        shown_name = page.locator(".card-name").first
        assert shown_name.evaluate("it => it.scrollHeight <= it.clientHeight + 1") is (address != "/")
        expect(page.get_by_role("link", name=f"Hearth & Field {name}").first).to_be_visible()
    page.goto("/product/long/")
    expect(page.get_by_role("heading", name=f"Hearth & Field {name} 9 oz")).to_be_visible()
