"""Ten journeys that matter, each walked to its end in a real browser with real slates in a real Redis."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect
from pytest_django.live_server_helper import LiveServer

from recommender import keys
from recommender.models import Event
from storefront.models import Order, Product
from storefront.tests.conftest import MakeProduct, kept_slates

IDS = [f"p{number:02}" for number in range(1, 31)]
PASSWORD = "a long and quiet river"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def known_to_sell(shelf: list[Product]) -> None:
    """What sells best, and what goes with two of them: the slates that every new visitor's panel is made of."""
    kept_slates(keys.popular(), popular=IDS)
    kept_slates(keys.product("p01"), for_you=[*IDS[15:27], "p01"])
    kept_slates(keys.product("p02"), for_you=[*IDS[20:29], "p02"])


@pytest.fixture
def ada(settings: Any, django_user_model: type[User]) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # what slow ones cost proves nothing
    return django_user_model.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def visitor(browser: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """Each call is a visitor with a browser of their own, and its first tab."""
    contexts = []

    def arrive(**options: Any) -> Page:
        contexts.append(browser.new_context(base_url=live_server.url, **options))
        return contexts[-1].new_page()

    yield arrive
    for context in contexts:
        context.close()


def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Recommended for you")


def put_in_cart(page: Page, product_id: str) -> None:
    page.goto(f"/product/{product_id}/")
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_role("status").filter(has_text=f"Product {product_id} is in your cart.")).to_be_visible()


def fill_in(page: Page) -> None:
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Address").fill("1 Long Lane")


def place(page: Page) -> None:
    page.get_by_role("button", name="Place the order").click()


def expect_thanks(page: Page) -> None:
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


def sign_in(page: Page) -> None:
    page.goto("/account/sign-in/")
    give_password(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def give_password(page: Page) -> None:
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def cookies(page: Page) -> set[str]:
    return {cookie.get("name", "") for cookie in page.context.cookies()}


def test_two_clicks_make_a_new_visitors_panel_personal_without_a_reload_or_a_shift(page: Page) -> None:
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => { for (const entry of list.getEntries()) "
        "if (!entry.hadRecentInput) window.shift += entry.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    page.goto("/")
    expect(panel(page)).to_contain_text("Nothing personal in it.")
    panel(page).get_by_role("link", name="Product p01").click()
    page.wait_for_url("**/product/p01/")
    expect(panel(page)).to_contain_text("Because you looked at Product p01")
    page.goto("/")
    with page.expect_response("**/api/events"):
        page.locator("main").get_by_role("link", name="Product p02", exact=True).click()
    page.wait_for_url("**/product/p02/")
    page.evaluate("window.sameDocument = true")
    page.mouse.move(0, 0)  # a panel does not change under a hand
    expect(panel(page)).to_contain_text("Because you looked at Product p02")
    assert page.evaluate("window.sameDocument") is True
    assert page.evaluate("window.shift") == 0


def test_a_search_with_a_mistake_is_understood_narrowed_and_ends_in_the_cart(
    page: Page, make_product: MakeProduct
) -> None:
    for number, brand in enumerate(("Acme", "Acme", "Bergs")):
        make_product(f"soup{number}", name=f"{brand} tomato soup {number}", category="Soup", brand=brand)
    page.goto("/")
    page.get_by_role("combobox", name="Search the shop").fill("tomatto")
    page.get_by_role("combobox", name="Search the shop").press("Enter")
    expect(page.get_by_text("Showing results for tomato.")).to_be_visible()
    expect(page.get_by_text("3 products", exact=True).first).to_be_visible()
    page.get_by_role("checkbox", name=re.compile("Bergs")).check()
    expect(page.get_by_text("1 product", exact=True).first).to_be_visible()
    page.locator("main").get_by_role("link", name="Bergs tomato soup 2").click()
    expect(page.get_by_role("heading", name="Bergs tomato soup 2")).to_be_visible()
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_role("dialog", name="Your cart")).to_contain_text("Bergs tomato soup 2")


def test_a_guest_orders_once_however_often_they_click_and_finds_the_confirmation_again(page: Page) -> None:
    put_in_cart(page, "p01")
    page.get_by_role("dialog", name="Your cart").get_by_role("link", name="Check out").click()
    fill_in(page)
    page.get_by_role("button", name="Place the order for $2.50").dblclick()
    expect_thanks(page)
    expect(page.locator("main")).to_contain_text("1 × Product p01")
    page.reload()
    expect_thanks(page)
    assert Order.objects.count() == 1
    assert Product.objects.get(product_id="p01").stock == 9


def test_a_visitors_cart_survives_signing_in_and_signing_out_leaves_nothing_behind(page: Page, ada: User) -> None:
    page.goto("/")
    page.get_by_role("button", name="Yes, remember").click()
    expect(page.get_by_role("button", name="Yes, remember")).to_be_hidden()
    put_in_cart(page, "p03")
    sign_in(page)
    page.goto("/cart/")
    expect(page.get_by_label("Quantity of Product p03")).to_have_value("1")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    assert cookies(page) <= {"csrftoken", "sessionid"}  # the session is a new one: what it holds is seen below
    assert page.evaluate("caches.keys()") == []
    stored = page.evaluate("[...Object.values(localStorage), ...Object.values(sessionStorage)]")
    assert set(stored) <= {"/"}  # htmx notes the address of the page in front of it
    page.go_back()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    page.goto("/cart/")
    expect(page.locator("main")).to_contain_text("It is empty.")
    page.goto("/privacy/")
    expect(page.locator("main")).to_contain_text("You have not chosen yet.")
    expect(page.get_by_text("Nothing.", exact=True)).to_be_visible()
    page.goto("/account/orders/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_without_javascript_one_browses_searches_filters_puts_aside_and_orders(visitor: Callable[..., Page]) -> None:
    Product.objects.filter(product_id__in=IDS[:5]).update(brand="Acme", name="Cheddar cheese")
    Product.objects.filter(product_id="p06").update(brand="Bergs", name="Cheddar sauce")
    page = visitor(java_script_enabled=False)
    page.goto("/")
    page.get_by_role("button", name="Not for me: Product p07").click()
    expect(page.locator("main")).to_contain_text("You will not be shown Product p07 again")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Not for me: Product p07")).to_be_visible()
    page.get_by_role("navigation", name="Departments").get_by_role("link", name="Dairy").click()
    page.get_by_role("link", name="Show more").click()
    expect(page.locator("main").get_by_role("link", name="Product p30")).to_be_visible()
    page.get_by_label("Search the shop").fill("chedder")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("checkbox", name=re.compile("Acme")).check()
    page.get_by_role("button", name="Show these").click()
    page.get_by_label("Sort by").select_option("-price")
    page.get_by_role("button", name="Sort").click()
    expect(page.get_by_role("link", name="Remove the filter Acme")).to_be_visible()
    page.locator("main").get_by_role("link", name="Cheddar cheese").first.click()
    page.get_by_role("button", name="Remember that I looked at this").click()
    page.get_by_role("button", name="Add to cart", exact=True).click()
    page.get_by_role("link", name=re.compile("^Cart")).click()
    page.get_by_role("button", name="One Cheddar cheese more").click()
    page.get_by_role("link", name="Check out").click()
    fill_in(page)
    page.get_by_role("button", name="Place the order for $5.00").click()
    expect_thanks(page)


# The focused element has a ring, and something of it is in sight with nothing on top of it (WCAG 2.4.7 and 2.4.11).
FOCUS_IS_SEEN = """() => {
  const focused = document.activeElement;
  if (focused === document.body) return true;
  const style = getComputedStyle(focused);
  if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return false;
  return [...focused.getClientRects()].some(({ left, top, width, height }) =>
    [0.1, 0.5, 0.9].some((part) => {
      const hit = document.elementFromPoint(left + width * part, top + height * part);
      return hit && (focused.contains(hit) || hit.contains(focused) && hit !== document.documentElement);
    }));
}"""


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it is reached. On the way the focus must be seen wherever it stands."""
    for _ in range(150):
        page.keyboard.press("Tab")
        try:
            page.wait_for_function(FOCUS_IS_SEEN, timeout=10_000)
        except TimeoutError:
            focused = page.evaluate("document.activeElement.outerHTML")
            raise AssertionError(f"the focus is not seen on {focused}") from None
        if wanted.evaluate("wanted => wanted === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


def test_from_the_home_page_to_a_placed_order_by_keyboard_alone_the_focus_is_always_seen(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    tab_to(page, page.get_by_role("link", name="Skip to the content"))
    page.keyboard.press("Enter")
    tab_to(page, panel(page).get_by_role("link", name="Product p02", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/product/p02/")
    tab_to(page, page.get_by_role("button", name="Add to cart", exact=True))
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Your cart")
    expect(drawer).to_contain_text("Product p02")
    tab_to(page, drawer.get_by_role("link", name="Check out"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/checkout/")
    tab_to(page, page.get_by_label("Name"))
    page.keyboard.type("Ada")
    tab_to(page, page.get_by_label("Address"))
    page.keyboard.type("1 Long Lane")
    tab_to(page, page.get_by_role("button", name="Place the order"))
    page.keyboard.press("Enter")
    expect_thanks(page)


def test_personalisation_is_switched_off_and_on_and_while_off_nothing_is_stored(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Yes, remember").click()
    with page.expect_response("**/api/events"):
        page.goto("/product/p01/")
    expect(panel(page)).to_contain_text("Because you looked at Product p01")
    page.goto("/privacy/")
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("heading", name="Personal recommendations are off")).to_be_visible()
    stored = Event.objects.count()
    assert stored > 0

    page.goto("/product/p02/")
    put_in_cart(page, "p03")
    page.goto("/")
    expect(panel(page)).to_contain_text("Nothing personal in it.")
    expect(panel(page)).not_to_contain_text("Because")
    assert Event.objects.count() == stored
    assert "viewed" not in cookies(page)

    page.goto("/privacy/")
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("heading", name="Personal recommendations are on")).to_be_visible()
    with page.expect_response("**/api/events"):
        page.goto("/product/p02/")
    expect(panel(page)).to_contain_text("Because you looked at Product p02")
    assert Event.objects.count() > stored


def test_what_one_tab_does_to_the_cart_no_other_undoes(page: Page) -> None:
    put_in_cart(page, "p01")
    page.goto("/cart/")
    other = page.context.new_page()
    put_in_cart(other, "p02")
    page.get_by_role("button", name="One Product p01 more").click()
    expect(page.get_by_label("Quantity of Product p01")).to_have_value("2")
    expect(page.get_by_label("Quantity of Product p02")).to_have_value("1")
    other.goto("/cart/")
    expect(other.get_by_label("Quantity of Product p01")).to_have_value("2")
    other.get_by_role("button", name="Remove Product p01").click()
    expect(other.get_by_role("button", name="Undo")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Quantity of Product p02")).to_have_value("1")
    expect(page.get_by_label("Quantity of Product p01")).to_have_count(0)


def test_the_last_one_in_stock_is_bought_once_by_two_visitors_and_by_two_tabs(
    visitor: Callable[..., Page], make_product: MakeProduct
) -> None:
    make_product("last", name="Product last", stock=1)
    buyers = [visitor(), visitor()]
    for buyer in buyers:
        put_in_cart(buyer, "last")
    buyers.append(buyers[0].context.new_page())  # the first one's second tab
    for buyer in buyers:
        buyer.goto("/checkout/")
        fill_in(buyer)
    for buyer in buyers:
        place(buyer)
    expect_thanks(buyers[0])
    expect(buyers[1].get_by_role("alert")).to_contain_text("There is no longer enough of: Product last")
    expect(buyers[2].locator("main")).to_contain_text("It is empty.")
    assert Order.objects.count() == 1
    assert Product.objects.get(product_id="last").stock == 0


def test_back_from_a_product_finds_filters_sorting_and_place_in_a_lengthened_list(
    page: Page, make_product: MakeProduct
) -> None:
    for number in range(60):
        make_product(f"c{number:02}", category="Cheese", brand="Acme", price_cents=100 + number)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/department/dairy/?brand=Acme&sort=price")
    page.get_by_role("button", name="No, thanks").click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("link", name="Show more").press("Enter")
    expect(page.locator("#results .card")).to_have_count(48)
    expect(page.locator("#card-c24 .card-link")).to_be_focused()
    page.locator("#card-c40").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    page.locator("#card-c40 .card-link").click()
    page.wait_for_url("**/product/c40/")
    page.go_back()
    expect(page.locator("#results .card")).to_have_count(48)
    expect(page.get_by_role("link", name="Remove the filter Acme")).to_be_visible()
    expect(page.get_by_label("Sort by")).to_have_value("price")
    page.wait_for_function("top => Math.abs(scrollY - top) < 50", arg=before)


def test_a_guest_whose_session_ends_while_ordering_loses_nothing_and_orders(visitor: Callable[..., Page]) -> None:
    page = visitor()
    put_in_cart(page, "p01")
    page.goto("/checkout/")
    fill_in(page)
    page.context.clear_cookies(name="sessionid")
    place(page)
    expect(page.get_by_role("alert")).to_contain_text("Your session ended while you were here. Nothing is lost")
    expect(page.get_by_label("Address")).to_have_value("1 Long Lane")
    place(page)
    expect_thanks(page)
    assert Order.objects.get().lines.get().product_id == "p01"


def test_a_shopper_whose_session_ends_while_ordering_signs_in_and_goes_on(page: Page, ada: User) -> None:
    sign_in(page)
    put_in_cart(page, "p01")
    page.goto("/checkout/")
    fill_in(page)
    page.context.clear_cookies(name="sessionid")
    place(page)
    expect(page.get_by_text("Nothing is lost: sign in")).to_be_visible()
    give_password(page)
    page.wait_for_url("**/checkout/")
    fill_in(page)
    place(page)
    expect_thanks(page)
    assert Order.objects.get().user == ada


def test_history_and_then_the_account_are_deleted_and_really_gone(page: Page, ada: User) -> None:
    sign_in(page)
    page.goto("/privacy/")
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("heading", name="Personal recommendations are on")).to_be_visible()
    put_in_cart(page, "p03")
    page.goto("/privacy/")
    history = page.get_by_role("region", name="Your history")
    expect(history).to_contain_text("Product p03")
    page.get_by_role("button", name="Delete my history").click()
    expect(page.get_by_role("status").filter(has_text="Your history is deleted.")).to_be_visible()
    expect(history).to_have_count(0)
    assert not Event.objects.filter(kind="cart").exists()

    page.goto("/account/")
    page.get_by_role("link", name="Delete your account").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("status").filter(has_text="Your account is deleted")).to_be_visible()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    assert not User.objects.exists()
    page.goto("/cart/")
    expect(page.locator("main")).to_contain_text("It is empty.")
