import re
from typing import Any

import pytest
from django.test import Client
from redis import Redis

from recommender import events
from storefront import panels
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates, refuse

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def panel(text: str, name: str = "for_you") -> str:
    """The markup of one panel, empty when it is absent."""
    found = re.search(rf'<section class="panel {name}".*?</section>', text, re.DOTALL)
    return found.group() if found else ""


def ids_in(text: str) -> list[str]:
    return re.findall(r'data-product="([^"]+)"', text)


def page(client: Client, address: str = "/") -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def view(client: Client, product_id: str) -> None:
    client.post(
        "/api/events", {"events": [{"kind": "view", "product_id": product_id}]}, content_type="application/json"
    )


IDS = [f"p{number:02}" for number in range(1, 31)]


def test_the_panel_comes_first_in_the_slates_order_with_twelve_cards(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS[::-1])
    text = page(client)
    assert ids_in(panel(text)) == IDS[::-1][:12]
    assert text.index("Recommended for you") < text.index('id="departments"')


@pytest.mark.parametrize("source", ["fresh", "stale", "viewed", "category", "popular"])
def test_every_tier_gives_a_panel_that_says_how_personal_it_is(
    client: Client, shelf: list[Product], slates: Slates, source: str
) -> None:
    slates.put("for_you", IDS, source=source)
    found = panel(page(client))
    assert panels.NOTES[source] in found
    assert f'data-source="{source}"' in found


@pytest.mark.parametrize("address", ["/", "/department/dairy/", "/product/p01/", "/cart/", "/search/?q=zzzzzzz"])
def test_without_slates_panels_are_absent_and_pages_whole(
    client: Client, shelf: list[Product], slates: Slates, address: str
) -> None:
    text = page(client, address)
    assert 'class="panel ' not in text
    assert "Recommended for you" not in text
    assert "</footer>" in text


def test_without_redis_pages_are_whole(client: Client, shelf: list[Product], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redis, "execute_command", refuse)
    for address in ("/", "/department/dairy/", "/product/p01/", "/cart/"):
        assert "</footer>" in page(client, address)


def test_what_cannot_be_bought_is_not_shown(client: Client, shelf: list[Product], slates: Slates) -> None:
    Product.objects.filter(product_id="p01").update(stock=0)
    Product.objects.filter(product_id="p02").update(hidden=True)
    client.post("/cart/add/", {"product_id": "p03"})
    slates.put("for_you", ["p01", "p02", "p03", "unknown", "p04"])
    assert ids_in(panel(page(client))) == ["p04"]


def test_a_panel_whose_best_products_stand_in_an_earlier_one_is_filled_from_its_slates_end(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("similar", IDS[1:9])
    slates.put("for_you", IDS[1:])
    text = page(client, "/product/p01/")
    assert ids_in(panel(text, "similar")) == IDS[1:9]
    assert ids_in(panel(text)) == IDS[9:21]


def test_a_shelf_of_sold_out_products_is_filled_from_the_slates_end(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    Product.objects.filter(product_id__in=IDS[:18]).update(stock=0)
    slates.put("for_you", IDS)
    assert ids_in(panel(page(client))) == IDS[18:30]


def test_no_product_stands_in_two_panels_of_a_page(
    client: Client, shelf: list[Product], slates: Slates, shopper: int
) -> None:
    for name in ("for_you", "again", "popular", "together", "similar"):
        slates.put(name, IDS)
    for address in ("/", "/product/p30/"):
        shown = ids_in(page(client, address))
        assert len(shown) == len(set(shown)) > 12
        assert "p30" not in ids_in(page(client, "/product/p30/"))


def test_each_page_asks_recommender_once(client: Client, shelf: list[Product], slates: Slates) -> None:
    for address, names in (
        ("/", {"for_you", "again", "popular"}),
        ("/department/dairy/milk/", {"for_you"}),
        ("/product/p01/", {"together", "similar", "for_you"}),
        ("/cart/", {"complete", "for_you"}),
    ):
        slates.asked.clear()
        page(client, address)
        assert [asked["names"] for asked in slates.asked] == [names]


def test_reasons_say_only_what_is_known(client: Client, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", ["p05"], because="p01")
    assert "Because of Product p01" in panel(page(client))
    slates.put("for_you", ["p05"], because="p01", bought=["p01"])
    assert "Because you bought Product p01" in panel(page(client))
    view(client, "p01")
    assert "Because you looked at Product p01" in panel(page(client))
    client.post("/cart/add/", {"product_id": "p01"})
    assert "Goes with Product p01 in your cart" in panel(page(client))
    slates.put("for_you", ["p05"], because="unknown")
    assert '<p class="because">Milk</p>' in panel(page(client))  # its shelf: true, and no reason


def test_stamps_stand_where_impressions_and_clicks_find_them(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", ["p05", "p06"])
    found = panel(page(client))
    assert 'data-slate="slate-1" data-model="model-1" data-arm="arm-1"' in found
    assert re.findall(r'data-product="p0\d" data-position="(\d)"', found) == ["1", "2"]
    assert '<input type="hidden" name="slate_id" value="slate-1">' in found


def test_every_card_can_be_bought_and_put_aside_without_javascript(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", ["p05"])
    found = panel(page(client))
    assert '<form method="post" action="/cart/add/">' in found
    assert 'formaction="/not-for-me/"' in found


def test_not_for_me_hides_at_once_and_undo_brings_back(
    client: Client, shelf: list[Product], slates: Slates, shopper: int
) -> None:
    slates.put("for_you", ["p05", "p06"])
    card = client.post("/not-for-me/", {"product_id": "p05", "slate_id": "slate-1"}, headers=HTMX).content.decode()
    assert "<html" not in card
    assert '<div hx-swap-oob="innerHTML:#said">Product p05 will not be shown again.</div>' in card
    assert ids_in(panel(page(client))) == ["p06"]
    assert events.taken(shopper, ["p05"]).dismissed == {"p05"}
    restored = client.post("/not-for-me/undo/", {"product_id": "p05"}, headers=HTMX).content.decode()
    assert ids_in(restored) == ["p05"]
    assert ids_in(panel(page(client))) == ["p05", "p06"]
    assert events.taken(shopper, ["p05"]).dismissed == frozenset()


def test_not_for_me_works_without_javascript_and_without_consent(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", ["p05", "p06"])
    text = client.post("/not-for-me/", {"product_id": "p05", "next": "/"}).content.decode()
    assert "You will not be shown" in text
    assert 'href="/"' in text
    assert ids_in(panel(page(client))) == ["p06"]
    assert client.post("/not-for-me/undo/", {"product_id": "p05", "next": "/"}).headers["Location"] == "/"
    assert ids_in(panel(page(client))) == ["p05", "p06"]


def test_what_is_put_aside_fits_a_cookie_however_much_it_is(client: Client, make_product: MakeProduct) -> None:
    for number in range(30):
        make_product(f"{number:0128}")
        client.post("/not-for-me/", {"product_id": f"{number:0128}"}, headers=HTMX)
    assert len(client.cookies["sessionid"].value) < 4096


# --- The panel swaps itself in ---


def poll_of(text: str) -> str:
    found = re.search(r'class="poll" hx-get="([^"]+)"', text)
    return found.group(1).replace("&amp;", "&") if found else ""


def test_a_product_page_waits_for_the_slate_that_its_view_will_bring(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS, source="popular", slate_id="old")
    poll = poll_of(page(client, "/product/p30/"))
    view(client, "p30")
    first = client.get(poll, headers=HTMX)
    assert "HX-Retarget" not in first.headers
    slates.put("for_you", IDS[5:], source="viewed", slate_id="new", because="p30")
    second = client.get(poll_of(first.content.decode()), headers=HTMX)
    assert (second.headers["HX-Retarget"], second.headers["HX-Reswap"]) == ("#panel-for_you", "outerHTML")
    text = second.content.decode()
    assert ids_in(panel(text)) == IDS[5:17]
    assert "Because you looked at Product p30" in text
    assert poll_of(text) == ""


def test_a_panel_polls_four_times_in_two_seconds_and_then_stops(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("for_you", IDS, source="popular", slate_id="old")
    text = page(client, "/product/p30/")
    delays = []
    while poll := poll_of(text):
        delays.append(int(re.findall(r"load delay:(\d+)ms", text)[0]))
        text = client.get(poll, headers=HTMX).content.decode()
    assert len(delays) == 4
    assert sum(delays) == 2000
    assert text == ""


def test_a_poll_touches_the_database_only_for_what_it_must(
    client: Client, shelf: list[Product], slates: Slates, django_assert_max_num_queries: Any
) -> None:
    slates.put("for_you", IDS, source="popular", slate_id="old")
    poll = poll_of(page(client, "/product/p30/"))
    with django_assert_max_num_queries(1):
        client.get(poll, headers=HTMX)


@pytest.mark.parametrize(
    ("source", "known", "looked", "polls"),
    [
        ("fresh", True, False, False), ("stale", True, False, True), ("popular", True, False, True),
        ("viewed", False, True, False), ("popular", False, True, True), ("popular", False, False, False),
    ],
)  # fmt: skip
def test_only_a_panel_behind_which_something_better_is_coming_polls(
    client: Client, shelf: list[Product], slates: Slates, source: str, known: bool, looked: bool, polls: bool
) -> None:
    if known:
        client.post("/privacy/choose/", {"choice": "yes"})
    if looked:
        view(client, "p30")
    slates.put("for_you", IDS, source=source)
    assert bool(poll_of(page(client))) is polls


def test_after_a_no_nothing_polls(client: Client, shelf: list[Product], slates: Slates) -> None:
    client.post("/privacy/choose/", {"choice": "no"})
    slates.put("for_you", IDS, source="popular")
    assert poll_of(page(client, "/product/p30/")) == ""


def test_a_poll_swaps_nothing_impersonal_in(client: Client, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", IDS, source="popular", slate_id="other")
    assert "HX-Retarget" not in client.get("/panel/?seen=old&n=1", headers=HTMX).headers


@pytest.mark.parametrize(
    "query",
    ["", "n=0", "n=-4", "n=x", "n=²", "n=99999999999", "at=nope", "at=%00", "seen=%00&n=2", "seen=" + "x" * 5000],
)
def test_absurd_polls_are_answered_quietly(client: Client, shelf: list[Product], query: str) -> None:
    assert client.get(f"/panel/?{query}").status_code == 200


def test_a_swapped_panel_has_the_cards_of_the_one_it_replaces(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    """As many, each with a place for its reason, so the page below does not move."""
    slates.put("for_you", IDS, source="popular", slate_id="old")
    text = page(client, "/product/p30/")
    slates.put("for_you", IDS, source="fresh", slate_id="new", because="p01")
    swapped = client.get(poll_of(text), headers=HTMX).content.decode()
    for mark in ('class="card"', 'class="because"', 'class="panel-head"'):
        assert panel(text).count(mark) == panel(swapped).count(mark) > 0


# --- What pages cost ---


@pytest.mark.parametrize(
    ("address", "most"), [("/", 3), ("/product/p01/", 4), ("/department/dairy/", 5), ("/cart/", 4)]
)
def test_pages_of_a_known_shopper_cost_few_queries(
    client: Client,
    shelf: list[Product],
    slates: Slates,
    shopper: int,
    django_assert_max_num_queries: Any,
    address: str,
    most: int,
) -> None:
    for name in panels.TITLES:
        slates.put(name, IDS, because="p30")
    client.post("/cart/add/", {"product_id": "p29"})
    page(client)  # the menu is read once a minute, not once a page
    with django_assert_max_num_queries(most):
        page(client, address)


def test_what_was_looked_at_last_has_a_panel_on_the_home_page_and_a_list_on_product_pages(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    slates.put("similar", ["p05", "p06"])
    assert panel(page(client), "similar") == ""
    view(client, "p01")
    view(client, "p02")
    found = panel(page(client), "similar")
    assert "Because you looked at Product p02" in found
    assert ids_in(found) == ["p05", "p06"]
    assert slates.asked[-1]["product_id"] == "p02"
    assert ids_in(panel(page(client, "/product/p03/"), "recent")) == ["p02", "p01"]
    assert ids_in(panel(page(client, "/product/p02/"), "recent")) == ["p01"]


def test_the_list_of_what_was_looked_at_can_be_cleared(client: Client, shelf: list[Product], slates: Slates) -> None:
    view(client, "p01")
    assert '<form method="post" action="/looked-at/clear/">' in panel(page(client, "/product/p03/"), "recent")
    assert client.post("/looked-at/clear/", {"next": "/product/p03/"}).headers["Location"] == "/product/p03/"
    text = page(client, "/product/p03/")
    assert "The list is empty." in text
    assert panel(text, "recent") == ""
    assert client.post("/looked-at/clear/", {"next": "//elsewhere/"}).headers["Location"] == "/"


def test_what_was_looked_at_stays_in_the_list_wherever_else_it_is(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    view(client, "p01")
    client.post("/cart/add/", {"product_id": "p01"})
    assert "In cart: 1" in panel(page(client, "/product/p03/"), "recent")
    Product.objects.filter(product_id="p01").update(stock=0)
    assert "Sold out" in panel(page(client, "/product/p03/"), "recent")
    Product.objects.filter(product_id="p01").update(hidden=True)
    assert panel(page(client, "/product/p03/"), "recent") == ""


@pytest.mark.parametrize("address", ["/", "/product/p30/"])
def test_others_are_shown_until_the_slate_begins_again(
    client: Client, shelf: list[Product], slates: Slates, address: str
) -> None:
    slates.put("for_you", IDS[:26])
    seen = []
    at = address
    for _ in range(3):
        found = panel(page(client, at))
        seen += ids_in(found)
        (at,) = re.findall(r'id="others" href="([^"]+)#panel-for_you"', found)
    assert at == address
    assert seen[:24] == IDS[:24]
    assert seen[24:] == [*IDS[24:26], *IDS[:10]]


@pytest.mark.parametrize("asked", ["-1", "x", "1000000000000", ""])
def test_nonsense_asked_of_the_panel_still_shows_it_full(
    client: Client, shelf: list[Product], slates: Slates, asked: str
) -> None:
    slates.put("for_you", IDS)
    assert len(ids_in(panel(page(client, f"/?others={asked}")))) == 12


def test_a_slate_that_is_shown_whole_has_no_others(client: Client, shelf: list[Product], slates: Slates) -> None:
    slates.put("for_you", IDS[:12])
    assert "Show others" not in page(client)
