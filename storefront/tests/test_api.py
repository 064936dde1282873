from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from redis import Connection

from recommender import events, privacy
from storefront import api, reports
from storefront.limits import Limit
from storefront.models import Product
from storefront.tests.conftest import MakeProduct, Slates, refuse

pytestmark = pytest.mark.django_db
VIEW = {"kind": "view", "product_id": "p01"}


def report(client: Client, *reported: Any, status: int = 202, **extra: Any) -> Any:
    response = client.post("/api/events", {"events": list(reported), **extra}, content_type="application/json")
    assert response.status_code == status, response.content
    return response.json()


def test_what_a_page_reports_is_kept_with_its_stamps(client: Client, shelf: list[Product], shopper: int) -> None:
    stamps = {"slate_id": "s", "model_version": "m", "arm": "a", "position": 3}
    kinds = ("view", "impression", "click", "dismiss")
    assert report(client, *({"kind": kind, "product_id": "p01", **stamps} for kind in kinds)) == {"accepted": 4}
    kept = privacy.known(shopper)["events"]
    assert {event["kind"] for event in kept} == set(kinds)
    assert all({name: event[name] for name in stamps} == stamps for event in kept)
    assert len({event["basket"] for event in kept}) == 1


def test_the_same_key_again_is_the_same_event(client: Client, shelf: list[Product], shopper: int) -> None:
    event = VIEW | {"key": "k1"}
    assert report(client, event) == {"accepted": 1}
    assert report(client, event, VIEW | {"key": "k2"}) == {"accepted": 1}
    assert [line.count for line in events.history(shopper)] == [2]


def test_without_consent_nothing_is_stored(client: Client, shelf: list[Product]) -> None:
    assert report(client, VIEW, {"kind": "impression", "product_id": "p02"}) == {"accepted": 0}
    assert client.cookies["viewed"].value.startswith("p01:")


@pytest.mark.parametrize("kind", ["cart", "purchase"])
def test_a_forged_cart_or_purchase_is_refused_by_name(
    client: Client, shelf: list[Product], shopper: int, kind: str
) -> None:
    answer = report(client, VIEW, {"kind": kind, "product_id": "p01"}, status=400)
    assert f"“{kind}” is recorded by the server" in str(answer)
    assert events.history(shopper) == []


@pytest.mark.parametrize("name", sorted(api.WHO))
def test_a_shoppers_id_in_the_body_is_refused(client: Client, shelf: list[Product], shopper: int, name: str) -> None:
    (other,) = privacy.join()
    for answer in (report(client, VIEW | {name: other}, status=400), report(client, VIEW, status=400, **{name: other})):
        assert name in str(answer)
        assert "never from the body" in str(answer)
    assert events.history(other) == events.history(shopper) == []


def test_unknown_products_are_named_and_nothing_is_half_done(
    client: Client, shelf: list[Product], shopper: int
) -> None:
    answer = report(
        client, VIEW, {"kind": "view", "product_id": "nope"}, {"kind": "view", "product_id": "nix"}, status=400
    )
    assert answer == {"product_id": "There is no product nix, nope."}
    assert events.history(shopper) == []
    assert "viewed" not in client.cookies


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, "kind"),
        ({"kind": "view"}, "product_id"),
        ({"product_id": "p01"}, "kind"),
        (VIEW | {"kind": "steal"}, "kind"),
        (VIEW | {"kind": None}, "kind"),
        (VIEW | {"kind": ["view"]}, "kind"),
        (VIEW | {"product_id": ""}, "product_id"),
        (VIEW | {"product_id": "a b"}, "product_id"),
        (VIEW | {"product_id": "p01\0"}, "product_id"),
        (VIEW | {"product_id": "p" * 999}, "product_id"),
        (VIEW | {"product_id": {"a": 1}}, "product_id"),
        (VIEW | {"key": "k" * 65}, "key"),
        (VIEW | {"slate_id": "s" * 129}, "slate_id"),
        (VIEW | {"arm": "s" * 64}, "arm"),
        (VIEW | {"position": 0}, "position"),
        (VIEW | {"position": 10**30}, "position"),
        (VIEW | {"position": "third"}, "position"),
        (VIEW | {"quantity": 5}, "quantity"),
        (VIEW | {"time": "2020-01-01"}, "time"),
        (VIEW | {"\u0000": 1}, "no such field"),
        ("view", "Invalid data"),
        (None, "null"),
        ([], "Invalid data"),
    ],
)
def test_a_bad_event_is_refused_naming_the_field(
    client: Client, shelf: list[Product], shopper: int, event: Any, field: str
) -> None:
    assert field in str(report(client, VIEW, event, status=400))
    assert events.history(shopper) == []


@pytest.mark.parametrize(
    "body",
    [
        "x" * 50_001,
        "",
        "{",
        "null",
        "[]",
        "7",
        '"events"',
        "{}",
        '{"events": {}}',
        '{"events": []}',
        '{"events": null}',
        "\0",
        "[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused_in_json(client: Client, body: str) -> None:
    response = client.post("/api/events", body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()


def test_a_report_has_a_most(client: Client, shelf: list[Product]) -> None:
    report(client, *[VIEW] * reports.MOST_EVENTS)
    assert "events" in report(client, *[VIEW] * (reports.MOST_EVENTS + 1), status=400)


def test_other_formats_and_methods_are_refused(client: Client) -> None:
    assert client.post("/api/events", {"events": "x"}).status_code == 415
    assert client.get("/api/events").status_code == 405
    assert client.post("/api/recommendations").status_code == 405


def test_a_report_must_come_from_our_page_also_of_the_anonymous(shelf: list[Product]) -> None:
    client = Client(enforce_csrf_checks=True)
    assert "CSRF" in str(report(client, VIEW, status=403))
    client.get("/")
    token = client.cookies["csrftoken"].value
    body = {"events": [VIEW]}
    response = client.post("/api/events", body, content_type="application/json", headers={"X-CSRFToken": token})
    assert response.status_code == 202


def test_too_many_reports_of_one_shopper_are_refused_and_others_are_not(
    client: Client, shelf: list[Product], shopper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "REPORTS_OF", Limit("test", most=3, seconds=60))
    for _ in range(3):
        report(client, VIEW)
    assert "throttled" in str(report(client, VIEW, status=429))
    report(Client(), VIEW)


def test_an_address_that_is_only_claimed_counts_for_nothing(
    shelf: list[Product], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(reports, "REPORTS_FROM", Limit("test", most=3, seconds=60))
    settings.NUM_PROXIES = 1
    stranger = Client(REMOTE_ADDR="10.0.0.1")  # our proxy

    def reported(claimed: int, seen: str) -> int:
        forwarded = {"X-Forwarded-For": f"192.0.2.{claimed}, {seen}"}
        return stranger.post(
            "/api/events", {"events": [VIEW]}, content_type="application/json", headers=forwarded
        ).status_code

    assert [reported(number, "198.51.100.7") for number in range(5)] == [202, 202, 202, 429, 429]
    assert reported(0, "198.51.100.8") == 202


def test_without_redis_reports_are_kept_all_the_same(
    client: Client, shelf: list[Product], shopper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "send_command", refuse)
    assert report(client, VIEW) == {"accepted": 1}


def test_recommendations_are_products_with_reasons_and_stamps(
    client: Client, shelf: list[Product], slates: Slates
) -> None:
    report(client, VIEW)
    slates.put("for_you", ["p02", "p03"], source="viewed", because="p01")
    answer = client.get("/api/recommendations").json()
    products = answer.pop("products")
    assert answer == {
        "slate": "for_you", "slate_id": "slate-1", "model_version": "model-1", "arm": "arm-1", "source": "viewed",
    }  # fmt: skip
    assert products[0] == {
        "product_id": "p02", "name": "Product p02", "brand": "", "size": "", "price_cents": 250,
        "url": "/product/p02/", "image": "/art/p02.svg", "position": 1, "reason": "Because you looked at Product p01",
    }  # fmt: skip


def test_recommendations_keep_the_panels_promises(client: Client, make_product: MakeProduct, slates: Slates) -> None:
    make_product("ok")
    make_product("gone", stock=0)
    make_product("hidden", hidden=True)
    slates.put("for_you", ["gone", "hidden", "unknown", "ok"])
    answer = client.get("/api/recommendations").json()
    assert [product["product_id"] for product in answer["products"]] == ["ok"]


def test_no_slate_is_an_empty_answer_and_no_error(client: Client, slates: Slates) -> None:
    answer = client.get("/api/recommendations?slate=again").json()
    assert (answer["source"], answer["products"]) == ("none", [])


def test_limit_and_product_are_heeded(client: Client, shelf: list[Product], slates: Slates) -> None:
    slates.put("similar", ["p02", "p03", "p04"])
    answer = client.get("/api/recommendations?slate=similar&product_id=p01&limit=2").json()
    assert [product["product_id"] for product in answer["products"]] == ["p02", "p03"]
    assert slates.asked[-1]["product_id"] == "p01"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=99999999999999999999", "limit"), ("limit=x", "limit"),
        ("slate=everything", "slate"), ("slate=similar", "product_id"),
        ("slate=together&product_id=nope", "product_id"),
        ("product_id=%00", "product_id"), ("shopper_id=1", "shopper_id"), ("colour=red", "colour"),
    ],
)  # fmt: skip
def test_absurd_questions_are_refused_naming_the_field(
    client: Client, shelf: list[Product], query: str, field: str
) -> None:
    response = client.get(f"/api/recommendations?{query}")
    assert response.status_code == 400
    assert field in response.json()


def test_the_schema_is_valid_and_names_both_doors() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert set(schema["paths"]) >= {"/api/events", "/api/recommendations"}
    assert set(schema["paths"]["/api/events"]["post"]["responses"]) == {"202", "400", "403", "429"}


def test_the_schema_is_served(client: Client) -> None:
    assert client.get("/api/schema").status_code == 200


def test_reading_recommendations_costs_no_user_and_few_queries(
    client: Client, shelf: list[Product], shopper: int, slates: Slates, django_assert_max_num_queries: Any
) -> None:
    slates.put("for_you", [product.product_id for product in shelf])
    with django_assert_max_num_queries(2):  # what was taken, and the products
        client.get("/api/recommendations")
