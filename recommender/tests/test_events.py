"""The write door."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone
from redis import Redis

from ml import contract
from recommender import events, privacy, queries
from recommender.events import LoadedEvent, NewEvent
from recommender.models import Event

pytestmark = pytest.mark.django_db


def loaded(shopper_id: int, product_id: str, kind: str = "purchase", days: float = 1, basket: str = "b") -> LoadedEvent:
    return LoadedEvent(shopper_id, product_id, kind, 1, basket, timezone.now() - timedelta(days=days))


class TestRecording:
    def test_an_event_is_kept_with_what_the_shopper_was_shown(self) -> None:
        [shopper_id] = privacy.join()
        click = NewEvent(
            product_id="p1", kind="click", basket="session", slate_id="s", model_version="m", arm="a", position=3
        )
        assert events.record(shopper_id, [click]) == 1
        event = Event.objects.get()
        assert (event.kind, event.slate_id, event.model_version, event.arm, event.position, event.basket) == (
            "click", "s", "m", "a", 3, "session",
        )  # fmt: skip

    def test_a_repeated_report_is_one_event(self) -> None:
        one, other = privacy.join(2)
        view = NewEvent(product_id="p1", kind="view", key="k")
        assert events.record(one, [view, view]) == 1
        assert events.record(one, [view, NewEvent(product_id="p2", kind="view", key="l")]) == 1
        assert events.record(other, [view]) == 1
        assert Event.objects.count() == 3

    def test_events_without_key_are_never_repeats(self) -> None:
        [shopper_id] = privacy.join()
        view = NewEvent(product_id="p1", kind="view")
        assert events.record(shopper_id, [view, view]) == 2

    def test_nothing_is_kept_of_who_opted_out_or_is_unknown(self) -> None:
        [shopper_id] = privacy.join()
        privacy.opt_out(shopper_id)
        view = NewEvent(product_id="p1", kind="view")
        assert events.record(shopper_id, [view]) == 0
        assert events.record(shopper_id + 1, [view]) == 0
        assert Event.objects.count() == 0

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"kind": "buy"}, "kind 'buy'"),
            ({"kind": "restore"}, "kind 'restore'"),
            ({"product_id": ""}, "product_id"),
            ({"product_id": "x" * 129}, "product_id"),
            ({"quantity": 0}, "quantity 0"),
        ],
    )
    def test_an_event_that_cannot_be_is_refused_and_none_beside_it_is_kept(
        self, wrong: dict[str, Any], named: str
    ) -> None:
        [shopper_id] = privacy.join()
        good = NewEvent(product_id="p1", kind="view")
        with pytest.raises(ValueError, match=named):
            events.record(shopper_id, [good, NewEvent(**{"product_id": "p1", "kind": "view", **wrong})])
        assert Event.objects.count() == 0


class TestReading:
    def test_taken_says_what_was_bought_and_what_was_dismissed(self) -> None:
        [shopper_id] = privacy.join()
        kinds = {"p1": "purchase", "p2": "dismiss", "p3": "view"}
        events.record(shopper_id, [NewEvent(product_id=one, kind=kind) for one, kind in kinds.items()])
        assert events.taken(shopper_id, ["p1", "p2", "p3", "p4"]) == events.Taken(
            bought=frozenset({"p1"}), dismissed=frozenset({"p2"})
        )
        assert events.taken(shopper_id, ["p4"]) == events.Taken(frozenset(), frozenset())

    def test_history_is_folded_newest_first_and_without_what_was_only_shown(self) -> None:
        [shopper_id] = privacy.join()
        old = datetime(2026, 1, 1, 12, 30, 15, tzinfo=UTC)
        events.load(
            [
                LoadedEvent(shopper_id, "p1", "purchase", 1, "b", old - timedelta(days=3)),
                LoadedEvent(shopper_id, "p2", "view", 1, "b", old - timedelta(days=1)),
                LoadedEvent(shopper_id, "p1", "purchase", 2, "c", old),
            ]
        )
        events.record(shopper_id, [NewEvent(product_id="p3", kind="impression")])
        known = events.history(shopper_id)
        assert [(one.product_id, one.kind, one.count) for one in known] == [("p1", "purchase", 2), ("p2", "view", 1)]
        assert abs(known[0].time - old) < timedelta(milliseconds=1)
        assert len(events.history(shopper_id, limit=1)) == 1
        assert events.history(shopper_id + 1) == []


class TestLoading:
    def test_loaded_events_are_events(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        assert events.load(loaded(shopper_id, f"p{n}", basket=f"b{n}") for n in range(10)) == 10
        event = Event.objects.get(product_id="p3")
        assert (event.shopper_id, event.kind, event.quantity, event.basket, event.key) == (
            shopper_id, "purchase", 1, "b3", None,
        )  # fmt: skip
        assert abs(timezone.now() - timedelta(days=1) - event.time) < timedelta(minutes=1)
        assert redis.zcard("{aisle}:pending") == 0

    def test_a_load_keeps_the_tables_indexes(self) -> None:
        from django.db import connection

        def indexes() -> set[str]:
            with connection.cursor() as cursor:
                return set(connection.introspection.get_constraints(cursor, Event._meta.db_table))

        before = indexes()
        [shopper_id] = privacy.join()
        events.load([loaded(shopper_id, "p1")])
        assert indexes() == before
        assert {"event_history", "event_time", "event_once"} <= before


class TestWhatTheModelIsAsked:
    def test_a_history_is_folded_aged_and_newest_first(self) -> None:
        [shopper_id] = privacy.join()
        now = timezone.now()
        events.load(
            LoadedEvent(shopper_id, product_id, kind, 1, "b", now - timedelta(seconds=age))
            for product_id, kind, age in [("p1", "purchase", 500), ("p2", "view", 20), ("p1", "purchase", 100)]
        )
        [wanted] = queries.build([f"shopper:{shopper_id}"], now.timestamp())
        assert [{**item, "age": round(item["age"], 2)} for item in orjson.loads(wanted.query)["history"]] == [
            {"product_id": "p2", "kind": "view", "age": 20.0, "count": 1},
            {"product_id": "p1", "kind": "purchase", "age": 100.0, "count": 2},
        ]

    def test_a_long_history_is_cut_to_its_newest(self) -> None:
        [shopper_id] = privacy.join()
        events.load(loaded(shopper_id, f"p{n}", days=n) for n in range(1, 600))
        [wanted] = queries.build([f"shopper:{shopper_id}"], timezone.now().timestamp())
        assert [item["product_id"] for item in orjson.loads(wanted.query)["history"]] == [
            f"p{n}" for n in range(1, 501)
        ]

    def test_a_request_holds_no_identity(self) -> None:
        [shopper_id] = privacy.join()
        events.load([loaded(shopper_id, "p1", basket="secret-basket")])
        [first] = [orjson.loads(one.query) for one in queries.build([f"shopper:{shopper_id}"], 0.0)]
        assert set(first) == {"slate_id", "history", "slates"}
        assert set(first["history"][0]) == {"product_id", "kind", "age", "count"}
        [again] = [orjson.loads(one.query) for one in queries.build([f"shopper:{shopper_id}"], 0.0)]
        assert again["slate_id"] != first["slate_id"]

    def test_an_event_of_the_future_has_no_age(self) -> None:
        [shopper_id] = privacy.join()
        events.load([loaded(shopper_id, "p1", days=-1)])
        [wanted] = queries.build([f"shopper:{shopper_id}"], timezone.now().timestamp())
        assert orjson.loads(wanted.query)["history"][0]["age"] == 0.0

    def test_every_query_keeps_the_contract(self) -> None:
        [shopper_id] = privacy.join()
        events.load(loaded(shopper_id, f"p{n}", kind="dismiss") for n in range(1_100))
        wanted = queries.build(
            [f"shopper:{shopper_id}", "product:p1", "cart:p1\np2", "popular:", "popular:C1"], timezone.now().timestamp()
        )
        request = {"version": contract.VERSION, "queries": [orjson.Fragment(one.query) for one in wanted]}
        assert len(contract.parse_request(orjson.dumps(request))["queries"]) == 5

    def test_keys_that_cannot_be_asked_for_are_not(self) -> None:
        [wanted] = queries.build(["nonsense", "popular:" + "x" * 200], 0.0)
        assert wanted.query == b""
