"""What keeps pages fast when something is slow, gone or too much at once. The invocation's own deadline, breaker and
second attempt are in test_aws.py, backing off and lost work in test_freshness.py."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from recommender import cache, counters, keys, pending, store, tasks
from recommender.recommendations import for_page
from recommender.tests.conftest import free_port, wait_for
from recommender.tests.fakes import FakeEndpoint

SLATES = {"for_you": ([f"p{n}" for n in range(48)], [n / 48 for n in range(48)], ["p1"] * 48)}


def bodies(count: int, family: str = "product") -> list[cache.Entry]:
    return [cache.Entry(f"{family}:{n}", cache.Body("s", "m", "", SLATES)) for n in range(count)]


@pytest.mark.django_db
def test_after_a_flush_thousands_of_readers_cost_a_handful_of_invocations(redis: Redis, endpoint: FakeEndpoint) -> None:
    wanted = [f"p{n}" for n in range(300)]
    cache.put([cache.Entry(keys.product(one), cache.Body("s", "m", "", SLATES)) for one in wanted], 0)
    redis.flushdb()
    with ThreadPoolExecutor(16) as readers:
        list(readers.map(lambda n: for_page(product_id=wanted[n % 300], names=["together"]), range(3_000)))
    assert sum('"task": "recommender.tasks.refresh"' in str(one) for one in redis.lrange("refresh", 0, -1)) == 1
    while tasks.refresh():
        pass
    assert len(endpoint.requests) == 2  # 256 keys and the rest
    assert len(endpoint.queries) == 300
    assert for_page(product_id="p7", names=["together"])["together"].source == "fresh"


@pytest.mark.django_db
def test_readers_of_what_is_under_way_ask_for_nothing(redis: Redis, endpoint: FakeEndpoint) -> None:
    for_page(product_id="p1", names=["together"])
    endpoint.gate.clear()
    with ThreadPoolExecutor(1) as worker:
        drain = worker.submit(tasks.refresh)
        wait_for(lambda: endpoint.requests)
        for _ in range(50):
            for_page(product_id="p1", names=["together"])
        assert redis.zcard("{aisle}:pending") == 0
        endpoint.gate.set()
        drain.result()
    assert len(endpoint.queries) == 1


def test_what_was_made_together_neither_ages_nor_ends_together(redis: Redis) -> None:
    cache.put(bodies(200), 0)
    with store.redis() as raw:
        lives = [raw.pttl("{aisle}:slate:" + entry.key) for entry in bodies(200)]
        heads: list[Any] = [raw.getrange("{aisle}:slate:" + entry.key, 0, 23) for entry in bodies(200)]
    ages = [cache._HEAD.unpack(head)[0] for head in heads]
    for times, seconds in ((lives, 7 * 86_400), ([one - time.time() * 1000 for one in ages], 86_400)):
        assert len(set(times)) > 190
        assert min(times) > seconds * 890
        assert max(times) < seconds * 1_110
        assert max(times) - min(times) > seconds * 150


def test_work_that_takes_long_has_a_queue_and_a_worker_of_its_own() -> None:
    from storefront.celery import app

    route = app.amqp.router.route
    assert route({}, "recommender.tasks.export_events")["queue"].name == "nightly"
    for task in ("refresh", "sweep", "warm_products", "refresh_popular"):
        assert route({}, f"recommender.tasks.{task}")["queue"].name == "refresh"


@pytest.fixture
def small_redis(redis_command: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A Redis of the demo's kind with room for a few hundred slates, in place of the usual one."""
    port = free_port()
    command = redis_command(port)
    command[command.index("--maxmemory") + 1] = "3mb"
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = Redis(port=port)
    wait_for(lambda: _answers(client))
    monkeypatch.setattr(store, "client", lambda: client)
    monkeypatch.setattr(store, "script", client.register_script)
    try:
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(timeout=10)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except ConnectionError:
        return False
    except Exception as error:
        return "loading" in str(error)


def test_a_full_redis_gives_up_slates_and_never_work(small_redis: Redis) -> None:
    pending.add([f"shopper:{n}" for n in range(500)])
    for family in ("shopper", "product"):
        cache.put(bodies(2_000, family), 0)
    assert small_redis.info("stats")["evicted_keys"] > 0
    assert small_redis.info("memory")["used_memory"] < 3.5e6
    assert set(pending.take(1_000).keys) == {f"shopper:{n}" for n in range(500)}


def test_a_full_redis_never_gives_up_who_has_withdrawn(small_redis: Redis) -> None:
    """Else a drain that began before could bring back what was withdrawn."""
    for number in range(200):
        cache.withdraw(keys.shopper(number), 1)
    for family in ("product", "popular"):
        cache.put(bodies(2_000, family), 0)
    assert small_redis.info("stats")["evicted_keys"] > 0
    assert cache.put(bodies(200, "shopper"), 0) == [cache.REFUSED] * 200


def test_a_withdrawal_is_remembered_for_a_day_and_then_no_longer(redis: Redis) -> None:
    for number in (1, 2):
        cache.withdraw(keys.shopper(number), 1)
    redis.zadd("{aisle}:generations:since", {keys.shopper(1): (time.time() - 86_401) * 1000})
    assert cache.drop_old_generations() == 1
    assert redis.hkeys("{aisle}:generations") == [keys.shopper(2)]
    assert redis.zrange("{aisle}:generations:since", 0, -1) == [keys.shopper(2)]


@pytest.mark.django_db
def test_a_redis_without_room_for_anything_is_as_good_as_away(small_redis: Redis) -> None:
    small_redis.config_set("maxmemory", 1)
    tasks.request_refresh(["product:p1"])
    assert counters.counts()["refreshes_dropped"] == 1
    assert for_page(product_id="p1", names=["together"])["together"].source == "none"
