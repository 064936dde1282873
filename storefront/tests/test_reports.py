"""The quick look at a report and the serializers agree: what the quick look takes, they take, as the same events."""

import json
from typing import Any

import pytest
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from recommender import events
from storefront import api, reports
from storefront.models import Product

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", " ", "p01", " p01", "p01\n", "p 1", "ß", "\0", "a\u2028", "\x85", "0", "~._-"]),
    *(st.just("x" * length) for length in (63, 64, 65, 128, 129)),
)
ODD = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(-2, 202), st.floats(allow_nan=True), st.just(10**30), st.just("3"),
    st.just(3.0), st.lists(TEXTS, max_size=1), st.dictionaries(TEXTS, TEXTS, max_size=1),
)  # fmt: skip
STAMPS = st.dictionaries(
    st.sampled_from(["key", "slate_id", "model_version", "arm", "position", "quantity", "shopper_id", "Kind"]), ODD
)
EVENTS = st.builds(
    lambda event, stamps: event | stamps,
    st.fixed_dictionaries(
        {"kind": st.sampled_from([*reports.KINDS, *api.SERVER_KINDS, " view", 1]), "product_id": TEXTS | ODD}
    ),
    STAMPS,
)
REPORTS = st.builds(
    lambda report, more: report | more,
    st.fixed_dictionaries({"events": st.lists(EVENTS | ODD, max_size=2) | ODD}),
    st.dictionaries(TEXTS, ODD, max_size=1),
)


def sent(body: bytes, content_type: str = "application/json", **extra: Any) -> list[dict[str, Any]] | None:
    return reports.recognised(RequestFactory().post("/api/events", body, content_type=content_type, **extra))


def report(*reported: dict[str, Any]) -> bytes:
    return json.dumps({"events": reported}).encode()


VIEW = {"kind": "view", "product_id": "p01"}
WHOLE = VIEW | {"key": "k1", "slate_id": "s+/=", "model_version": "2026-11-22T06-00", "arm": "a", "position": 3}


@given(REPORTS)
def test_what_is_recognised_the_serializers_take_as_the_same_events(said: dict[str, Any]) -> None:
    recognised = reports.decoded(json.dumps(said).encode())
    if recognised is not None:
        serializer = api.ReportSerializer(data=said)
        assert serializer.is_valid(), serializer.errors
        meant = [
            {name: value for name, value in event.items() if value != ""}
            for event in serializer.validated_data["events"]
        ]
        assert recognised == meant


@given(st.lists(st.fixed_dictionaries({"position": ODD}).map(lambda odd: WHOLE | odd), min_size=1, max_size=2))
def test_no_position_is_recognised_that_means_something_else_to_the_serializers(said: list[dict[str, Any]]) -> None:
    recognised = reports.decoded(report(*said))
    if recognised is not None:
        serializer = api.ReportSerializer(data={"events": said})
        assert serializer.is_valid(), serializer.errors
        assert [event["position"] for event in recognised] == [
            event["position"] for event in serializer.validated_data["events"]
        ]


def test_what_our_pages_report_is_recognised() -> None:
    for kind in reports.KINDS:
        assert sent(report(WHOLE | {"kind": kind}, VIEW | {"kind": kind})) == [
            WHOLE | {"kind": kind}, VIEW | {"kind": kind},
        ]  # fmt: skip
    assert sent(report(*[VIEW] * reports.MOST_EVENTS)) == [VIEW] * reports.MOST_EVENTS


@pytest.mark.parametrize(
    "body",
    [
        report(*[VIEW] * 51), report(), report(VIEW | {"shopper_id": 1}), report(VIEW | {"kind": "purchase"}),
        report(VIEW | {"position": True}), report(VIEW | {"position": "3"}), report(VIEW | {"key": None}),
        report(VIEW | {"key": ""}), report(VIEW | {"arm": " a"}), report(VIEW | {"product_id": "p01\n"}),
        b'{"events":[{"kind":"view","product_id":"p\xff"}]}', b"\xef\xbb\xbf" + report(VIEW), b"[" * 40_000, b"", b"{",
        report(VIEW)[:-1] + b',"user":1}', report(VIEW) + b" " * reports.MOST_BYTES,
    ],
)  # fmt: skip
def test_what_is_not_good_beyond_doubt_is_left_to_the_serializers(body: bytes) -> None:
    assert sent(body) is None


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-16", "application/jsonp", ""])
def test_no_other_format_is_recognised(content_type: str) -> None:
    assert sent(report(VIEW), content_type) is None


@pytest.mark.parametrize("length", ["", "-1", "x", "50001", "9" * 5000])
def test_a_body_of_a_strange_length_is_not_even_read(length: str) -> None:
    request = RequestFactory().post("/api/events", report(VIEW), content_type="application/json")
    request.META["CONTENT_LENGTH"] = length
    assert reports.recognised(request) is None
    assert not hasattr(request, "_body")


@pytest.mark.django_db
@pytest.mark.parametrize("body", [report(VIEW), report(VIEW | {"product_id": "nope"}), report(VIEW | {"key": ""})])
def test_a_report_counts_once_whichever_way_it_is_answered(
    client: Client, shelf: list[Product], shopper: int, redis_url: str, body: bytes
) -> None:
    client.post("/api/events", body, content_type="application/json")
    with Redis.from_url(redis_url) as redis:
        assert [redis.get(key) for key in redis.scan_iter("shop:limit:*")] == [b"1"]


@pytest.mark.django_db
def test_a_good_report_from_elsewhere_is_refused_and_counts_for_nothing(
    client: Client, shelf: list[Product], shopper: int, redis_url: str
) -> None:
    client.handler.enforce_csrf_checks = True
    for token in ({}, {"X-CSRFToken": "x" * 32}):
        answer = client.post("/api/events", report(VIEW), content_type="application/json", headers=token)
        assert (answer.status_code, "CSRF" in answer.json()["detail"]) == (403, True)
    assert events.history(shopper) == []
    with Redis.from_url(redis_url) as redis:
        assert list(redis.scan_iter("shop:limit:*")) == []
