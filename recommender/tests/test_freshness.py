"""Promise 3: what a shopper does changes what the shopper sees, without a task per event, and nothing is lost."""

import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from kombu.exceptions import KombuError
from redis import Redis

from recommender import aws, cache, counters, events, keys, pending, privacy, queries, recommendations, tasks
from recommender.events import NewEvent
from recommender.models import Event
from recommender.tests.conftest import free_port, wait_for, waiting
from recommender.tests.fakes import FakeEndpoint

Start = Callable[[str], "subprocess.Popen[bytes]"]


def view(product_id: str) -> NewEvent:
    return NewEvent(product_id=product_id, kind="view")


def wake_ups(redis: Redis) -> int:
    return sum('"task": "recommender.tasks.refresh"' in message for message in redis.lrange("refresh", 0, -1))


def wake_up_through(broker_url: str) -> bool:
    """Whether a wake-up could be sent by this broker."""
    with tasks.refresh.app.connection_for_write(broker_url) as connection, suppress(OSError, KombuError):
        tasks.refresh.apply_async(connection=connection)  # type: ignore[call-arg]  # celery-types knows it not
        return True
    return False


@pytest.mark.django_db(transaction=True)
class TestWaking:
    def test_an_event_makes_its_shopper_pending_once_it_is_committed(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        with transaction.atomic():
            events.record(shopper_id, [view("p1")])
            assert waiting(redis) == set()
        assert waiting(redis) == {f"shopper:{shopper_id}"}
        assert wake_ups(redis) == 1

    def test_an_event_that_is_rolled_back_wakes_nobody(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        with transaction.atomic():
            events.record(shopper_id, [view("p1")])
            transaction.set_rollback(True)
        assert waiting(redis) == set()
        assert wake_ups(redis) == 0

    def test_repeated_events_collapse_into_one_refresh_and_one_wake_up(
        self, redis: Redis, endpoint: FakeEndpoint
    ) -> None:
        [shopper_id] = privacy.join()
        for number in range(20):
            events.record(shopper_id, [view(f"p{number}")])
        assert wake_ups(redis) == 1
        assert tasks.refresh() == 1
        assert len(endpoint.queries) == 1
        assert len(endpoint.queries[0]["history"]) == 20

    def test_many_shoppers_share_one_invocation(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        for shopper_id in privacy.join(50):
            events.record(shopper_id, [view("p1")])
        assert wake_ups(redis) == 1
        assert tasks.refresh() == 50
        assert len(endpoint.requests) == 1

    def test_impressions_and_clicks_wake_nobody(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        shown = [NewEvent(product_id="p1", kind=kind, slate_id="s", position=0) for kind in ("impression", "click")]
        assert events.record(shopper_id, shown) == 2
        assert waiting(redis) == set()

    def test_the_wake_up_flag_falls_when_keys_are_taken_so_that_drains_overlap(self, redis: Redis) -> None:
        pending.add(["product:p1"])
        assert pending.add(["product:p2"]) is False
        pending.take(10)
        assert pending.add(["product:p3"]) is True

    def test_a_drain_that_leaves_keys_wakes_the_next_before_it_asks(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "BATCH", 3)
        pending.add([f"product:p{n}" for n in range(5)])
        assert tasks.refresh() == 3
        assert wake_ups(redis) == 1
        assert len(waiting(redis)) == 2

    def test_what_comes_while_a_drain_waits_for_its_turn_joins_it(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pending, "SPACING", 1.0)
        pending.add(["product:p1"])
        assert tasks.refresh() == 1  # alone, it waited for nobody
        monkeypatch.setattr(pending, "SPACING", 0.0)
        with ThreadPoolExecutor(1) as worker:
            pending.add(["product:p2"])
            drain = worker.submit(tasks.refresh)
            pending.add(["product:p3"])
            assert drain.result() == 2

    def test_what_shoppers_wait_for_is_taken_before_bulk_work(self, redis: Redis) -> None:
        tasks.request_refresh([f"product:p{n}" for n in range(100)], later=True)
        tasks.request_refresh(["shopper:1", "shopper:2"])
        assert {"shopper:1", "shopper:2"} < set(pending.take(10).keys)


@pytest.mark.django_db(transaction=True)
class TestNothingIsLost:
    def test_a_worker_killed_in_mid_drain_loses_nothing(
        self, redis: Redis, endpoint: FakeEndpoint, start_worker: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [shopper_id] = privacy.join()
        endpoint.gate.clear()  # the worker stands in the middle of its call
        worker = start_worker(endpoint.url)
        events.record(shopper_id, [view("p1")])
        wait_for(lambda: endpoint.requests)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert waiting(redis) == set()
        assert redis.zcard("{aisle}:in-flight") == 1

        endpoint.gate.set()
        redis.zadd("{aisle}:in-flight", {keys.shopper(shopper_id): 1})  # half a minute later
        tasks.sweep()
        assert tasks.refresh() == 1
        assert recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].source == "fresh"

    def test_a_worker_outlives_a_broker_that_dies_in_mid_drain(
        self,
        redis: Redis,
        endpoint: FakeEndpoint,
        start_worker: Start,
        redis_command: Callable[[int], list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        monkeypatch.setenv("CELERY_BROKER_URL", url)  # the worker's
        broker = subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL)
        try:
            endpoint.gate.clear()
            worker = start_worker(endpoint.url)
            pending.add(["product:p1"])
            wait_for(lambda: wake_up_through(url))  # the broker may still be starting
            wait_for(lambda: endpoint.requests)
            broker.kill()
            broker.wait()
            time.sleep(1)  # the worker notices
            endpoint.gate.set()
            broker = subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL)
            pending.add(["product:p2"])
            # As the clock would, again and again: the call may have been given up, and its shoppers wait for a while.
            wait_for(lambda: worker.poll() is not None or (wake_up_through(url) and len(endpoint.requests) > 1), 60)
            assert worker.poll() is None
        finally:
            broker.kill()
            broker.wait()

    def test_the_sweep_leaves_keys_alone_whose_deadline_lies_ahead(self, redis: Redis) -> None:
        pending.add(["product:p1"])
        pending.take(1)
        tasks.sweep()
        assert waiting(redis) == set()

    def test_a_slow_drain_does_not_finish_what_another_has_taken_again(self, redis: Redis) -> None:
        pending.add(["product:p1"])
        first = pending.take(1)
        redis.zadd("{aisle}:in-flight", {"product:p1": 1})
        pending.return_expired()
        time.sleep(0.002)  # deadlines tell drains apart, and are in milliseconds
        second = pending.take(1)
        cache.put([cache.Entry("product:p1", cache.Body())], first.deadline)
        assert redis.zscore("{aisle}:in-flight", "product:p1") == second.deadline

    @pytest.mark.parametrize("slates_survive", [True, False])
    def test_a_lost_redis_loses_no_refresh(self, redis: Redis, endpoint: FakeEndpoint, slates_survive: bool) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        tasks.refresh()
        events.record(shopper_id, [view("p2")])
        Event.objects.update(time=timezone.now() - timedelta(seconds=20))
        if slates_survive:
            redis.delete("{aisle}:pending", "{aisle}:wake")
        else:
            redis.flushdb()
        tasks.sweep()
        assert waiting(redis) == {f"shopper:{shopper_id}"}
        tasks.refresh()
        assert {item["product_id"] for item in endpoint.queries[-1]["history"]} == {"p1", "p2"}

    def test_the_sweep_asks_for_nothing_that_is_up_to_date(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        Event.objects.update(time=timezone.now() - timedelta(seconds=20))
        tasks.refresh()
        tasks.sweep()
        assert waiting(redis) == set()

    def test_the_sweep_goes_on_from_where_the_last_one_ended(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        """Redis was out of reach for hours, and kept its memory: everything since is compared."""
        [shopper_id] = privacy.join()
        pending.mark_swept(time.time() - 7200)
        with patch.object(tasks, "request_refresh"):  # what is asked while Redis is out of reach is dropped
            events.record(shopper_id, [view("p1")])
        Event.objects.update(time=timezone.now() - timedelta(hours=1, minutes=50))
        tasks.sweep()
        assert waiting(redis) == {f"shopper:{shopper_id}"}

    def test_the_next_page_wakes_a_worker_for_its_key_whose_wake_up_was_lost(self, redis: Redis) -> None:
        recommendations.for_page(product_id="p1", names=["together"])
        recommendations.for_page(product_id="p1", names=["together"])
        assert wake_ups(redis) == 1
        redis.delete("{aisle}:wake")  # as when it expired before any worker had started
        recommendations.for_page(product_id="p1", names=["together"])
        assert wake_ups(redis) == 2

    def test_the_sweep_wakes_a_worker_for_keys_whose_wake_up_was_lost(self, redis: Redis) -> None:
        pending.add(["product:p1"])  # nobody was told
        redis.delete("{aisle}:wake")
        tasks.sweep()
        assert wake_ups(redis) == 1
        tasks.sweep()
        assert wake_ups(redis) == 1

    def test_an_event_outlives_a_redis_that_is_away_and_its_refresh_is_counted_as_dropped(
        self, redis: Redis, redis_away: Callable[[], None]
    ) -> None:
        [shopper_id] = privacy.join()
        redis_away()
        assert events.record(shopper_id, [view("p1")]) == 1
        assert Event.objects.count() == 1
        assert counters.counts()["refreshes_dropped"] == 1

    def test_an_event_outlives_a_broker_that_is_away(self, redis: Redis) -> None:
        from storefront.celery import app

        [shopper_id] = privacy.join()
        with app.connection("redis://127.0.0.1:9/0", transport_options=app.conf.broker_transport_options) as nowhere:
            apply_async: Any = tasks.refresh.apply_async
            with patch.object(tasks.refresh, "apply_async", partial(apply_async, connection=nowhere)):
                began = time.monotonic()
                assert events.record(shopper_id, [view("p1")]) == 1
                assert time.monotonic() - began < 5  # kombu's own way would be to try for ever
        assert counters.counts()["wake_ups_dropped"] == 1
        assert waiting(redis) == {f"shopper:{shopper_id}"}
        assert redis.get("{aisle}:wake") is None


@pytest.mark.django_db(transaction=True)
class TestOnlyTheNewestIsKept:
    def test_a_slate_is_written_only_if_its_event_is_newer(self, redis: Redis) -> None:
        def put(event: int, name: str) -> list[int]:
            return cache.put([cache.Entry("shopper:1", cache.Body(slate_id=name), event=event)], 0)

        assert put(5, "five") == [cache.NEWER]
        assert put(4, "four") == [cache.REFUSED]
        assert put(5, "five again") == [cache.KEPT]
        body = cache.peek("shopper:1")
        assert body
        assert body.slate_id == "five again"

    def test_taking_a_dismissal_back_is_newer_than_the_dismissal(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1"), NewEvent(product_id="r00", kind="dismiss")])
        tasks.refresh()
        assert endpoint.queries[-1]["slates"][0]["exclude"] == ["r00"]
        events.undo_dismiss(shopper_id, "r00")
        assert tasks.refresh() == 1
        assert endpoint.queries[-1]["slates"][0]["exclude"] == []
        shown = recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].ids
        assert shown[0] == "r00"

    def test_undoing_what_was_never_dismissed_does_nothing(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        events.undo_dismiss(shopper_id, "p1")
        assert Event.objects.count() == 0
        assert waiting(redis) == set()


@pytest.mark.django_db(transaction=True)
class TestBackingOff:
    def test_keys_that_cannot_be_served_go_back_and_the_drain_comes_later(
        self, redis: Redis, endpoint: FakeEndpoint
    ) -> None:
        endpoint.fault = "500"
        pending.add(["product:p1"])
        assert tasks.refresh() == 0
        assert waiting(redis) == {"product:p1"}
        assert redis.zcard("{aisle}:in-flight") == 0
        assert wake_ups(redis) == 1  # with a countdown
        assert pending.add(["product:p2"]) is False  # no drain is woken meanwhile

    def test_nobody_tries_again_before_the_wait_is_over(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each drain that leaves keys wakes another: without a hold they would fail one after the other for ever."""
        monkeypatch.setattr(tasks, "BATCH", 3)
        endpoint.fault = "500"
        pending.add([f"product:p{n}" for n in range(10)])
        tasks.refresh()
        asked, woken = len(endpoint.requests), wake_ups(redis)
        for _ in range(5):
            assert tasks.refresh() == 0
        assert (len(endpoint.requests), wake_ups(redis)) == (asked, woken)
        assert woken == 2  # for the keys that were left, and with a countdown
        endpoint.fault = ""
        wait_for(tasks.refresh)
        assert len(waiting(redis)) == 7

    def test_a_database_that_is_away_costs_a_moment_and_no_key(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])

        def nobody_there(*_: Any, **__: Any) -> Any:
            raise OperationalError("connection refused")

        with monkeypatch.context() as away:
            connection.close()
            away.setattr(connection, "get_new_connection", nobody_there)
            assert tasks.refresh() == 0
        assert waiting(redis) == {keys.shopper(shopper_id)}
        assert redis.zcard("{aisle}:in-flight") == 0
        wait_for(tasks.refresh)
        assert cache.peek(keys.shopper(shopper_id))

    def test_a_redis_that_is_too_slow_to_be_written_costs_a_moment_and_no_key(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recommend, give_back = aws.recommend, pending.give_back

        def meanwhile(*asked: Any) -> Any:
            redis.client_pause(60_000, all=False)  # far longer than our client waits; what only reads goes on
            return recommend(*asked)

        def hears_again(*keys: Any) -> None:
            try:
                give_back(*keys)
            finally:
                redis.client_unpause()

        monkeypatch.setattr(aws, "recommend", meanwhile)
        monkeypatch.setattr(pending, "give_back", hears_again)
        pending.add(["product:p1"])
        assert tasks.refresh() == 0
        monkeypatch.undo()
        assert redis.zcard("{aisle}:in-flight") == 0
        wait_for(tasks.refresh)
        assert cache.peek("product:p1")

    def test_old_slates_stay_while_the_endpoint_fails(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        tasks.refresh()
        endpoint.fault = "nonsense"
        events.record(shopper_id, [view("p2")])
        tasks.refresh()
        assert recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].ids

    def test_old_slates_stay_while_a_model_recommends_what_the_shop_does_not_have(
        self, redis: Redis, endpoint: FakeEndpoint, settings: Any
    ) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        tasks.refresh()
        kept = recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"]
        settings.RECOMMENDER = {**settings.RECOMMENDER, "KNOWN": "storefront.catalogue.known"}  # of an empty shop
        events.record(shopper_id, [view("p2")])
        assert tasks.refresh() == 0
        assert recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].ids == kept.ids
        assert f"shopper:{shopper_id}" in waiting(redis)

    def test_a_query_that_the_endpoint_refuses_does_not_hold_up_the_others(
        self, redis: Redis, endpoint: FakeEndpoint
    ) -> None:
        endpoint.refuses = "p13"
        wanted = [f"product:p{n}" for n in range(10, 20)]
        pending.add(wanted)
        assert tasks.refresh() == 10
        assert waiting(redis) == set()
        assert [key for key in wanted if not cache.read([key]).held[key].decoded().slates] == ["product:p13"]
        assert counters.counts()["queries_refused"] == 1

    def test_requests_are_bounded_by_bytes(
        self, redis: Redis, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "MOST_BYTES", 1_000)
        pending.add([f"product:p{n}" for n in range(20)])
        assert tasks.refresh() == 20
        assert len(endpoint.requests) > 4


def test_a_wake_up_expires_rather_than_pile_up(redis: Redis) -> None:
    tasks.wake_worker()
    [message] = redis.lrange("refresh", 0, -1)
    assert '"expires": "2' in message


def test_keys_say_what_they_are() -> None:
    assert keys.parse(keys.shopper(7)) == ("shopper", "7")
    assert keys.in_cart(keys.parse(keys.cart(["b", "a", "b"]))[1]) == ["a", "b"]
    with pytest.raises(ValueError, match="not a key"):
        keys.parse("nonsense")
