"""What every process counted, added up in Redis and read in Prometheus's words."""

import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import RedisError

from recommender import counters, events, keys, metrics, pending, privacy, store, tasks
from recommender.events import NewEvent
from recommender.models import Event
from recommender.recommendations import for_page
from recommender.tests.conftest import free_port, wait_for
from recommender.tests.fakes import FakeEndpoint

pytestmark = pytest.mark.django_db(transaction=True)


def scraped() -> dict[str, float]:
    """Samples by name and labels, as Prometheus's own parser reads them, with this process's counts carried."""
    sent: Counter[str] = Counter()
    metrics.carry(store.client(), sent)
    metrics.carry(store.client(), sent)  # carries nothing twice
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_refresh_tells_how_long_each_of_its_steps_took(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
    tasks.request_refresh([keys.product("p1")])
    assert tasks.refresh() == 2
    told = scraped()
    assert told["aisle_drains_total"] == 1
    assert told["aisle_slates_written_total"] == 2
    assert told["aisle_queue_wait_seconds_count"] == 2
    assert told["aisle_invocation_seconds_count"] == told["aisle_write_seconds_count"] == 1
    assert told["aisle_freshness_seconds_count"] == 1  # a product has no events
    assert 0 < told["aisle_invocation_seconds_sum"] < told["aisle_freshness_seconds_sum"] < 60
    assert told["aisle_freshness_seconds_bucket +Inf"] == 1


def test_freshness_is_of_slates_that_an_event_has_asked_for(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
    Event.objects.update(time=timezone.now() - timedelta(days=3))
    tasks.refresh()
    assert scraped()["aisle_freshness_seconds_count"] == 0


def test_pages_are_counted_by_the_tier_that_filled_them(redis: Redis, endpoint: FakeEndpoint) -> None:
    for_page(names=["popular"])
    tasks.refresh()
    for_page(names=["popular"])
    told = scraped()
    assert (told["aisle_panels_total none"], told["aisle_panels_total popular"]) == (1, 1)


def test_what_strangers_are_shown_is_no_fallback_of_a_shopper_who_is_known(
    redis: Redis, endpoint: FakeEndpoint
) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
    tasks.refresh()
    for who in (shopper_id, None):
        for_page(shopper_id=who, names=["for_you", "again"])
    told = scraped()
    known = {name: value for name, value in told.items() if name.startswith("aisle_known_panels_total")}
    assert known == {"aisle_known_panels_total fresh": 1}
    assert sum(value for name, value in told.items() if name.startswith("aisle_panels_total")) == 4


def test_failures_are_counted_by_reason_and_an_open_breaker_is_told(redis: Redis, endpoint: FakeEndpoint) -> None:
    endpoint.fault = "500"
    pending.add(["product:p1"])
    for _ in range(6):
        tasks.refresh()
        redis.delete("{aisle}:hold")  # the wait is over
    told = scraped()
    assert told["aisle_failures_total EndpointDown"] == 6
    assert [value for name, value in told.items() if name.startswith("aisle_breaker_open")] == [1]
    assert told["aisle_keys_pending"] == 1


def test_counts_of_processes_are_added_up(redis: Redis) -> None:
    counters.count("drains", 2)
    scraped()
    assert scraped()["aisle_drains_total"] == 4


def test_what_could_not_be_carried_is_carried_later(redis: Redis) -> None:
    nobody = Redis.from_url(f"redis://127.0.0.1:{free_port()}/0", socket_connect_timeout=0.2)
    counters.count("refreshes_dropped", 3)
    sent: Counter[str] = Counter()
    with pytest.raises(RedisError, match="refused"):
        metrics.carry(nobody, sent)
    assert not sent
    assert scraped()["aisle_refreshes_dropped_total"] == 3


def test_a_worker_carries_its_counts_by_itself(
    redis: Redis, endpoint: FakeEndpoint, start_worker: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    start_worker(endpoint.url)
    tasks.request_refresh([keys.product("p1")])
    wait_for(lambda: redis.hget("{aisle}:metrics", "slates_written") == "1", 30)
