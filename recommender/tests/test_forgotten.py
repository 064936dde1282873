"""Deleted means deleted: database, Redis with its broker, and the next export, while a real worker holds a drain."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from redis import Redis

from recommender import cache, events, export, keys, privacy, tasks
from recommender.events import NewEvent
from recommender.models import Event, OwedPurge, Shopper
from recommender.tests.conftest import wait_for
from recommender.tests.fakes import FakeEndpoint

pytestmark = pytest.mark.django_db(transaction=True)


def in_redis(redis_url: str) -> dict[str, str]:
    """Every key of the server, the broker's too, with all that it holds."""
    with Redis.from_url(redis_url) as redis:
        raw: Any = redis  # as bytes: not all that is kept is text
        readers: dict[bytes, Callable[[bytes], Any]] = {
            b"string": raw.get,
            b"hash": raw.hgetall,
            b"set": raw.smembers,
            b"zset": lambda key: raw.zrange(key, 0, -1, withscores=True),
            b"list": lambda key: raw.lrange(key, 0, -1),
        }
        return {key.decode(): str(readers[raw.type(key)](key)) for key in raw.scan_iter() if raw.exists(key)}


def exported(folder: Path) -> list[dict[str, Any]]:
    return [row for path, _ in export.events(folder) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("delete", [privacy.forget, privacy.erase, lambda one: privacy.forget_product(one, "secret")])
def test_nothing_of_a_deleted_history_is_left_and_no_drain_brings_it_back(
    redis: Redis,
    redis_url: str,
    endpoint: FakeEndpoint,
    start_worker: Callable[[str], Any],
    tmp_path: Path,
    delete: Callable[[int], None],
) -> None:
    shopper_id, other = privacy.join(2)
    start_worker(endpoint.url)
    for one, product_id in ((shopper_id, "secret"), (other, "p1")):
        events.record(one, [NewEvent(product_id=product_id, kind="view")])
        wait_for(partial(cache.peek, keys.shopper(one)))
    assert "secret" in str(cache.peek(keys.shopper(shopper_id)))
    assert any("secret" in value for value in in_redis(redis_url).values())
    assert "secret" in {row["product_id"] for row in exported(tmp_path)}
    export_key = str(Shopper.objects.get(pk=shopper_id).export_key)
    before = cache.peek(keys.shopper(other))

    endpoint.gate.clear()
    tasks.request_refresh([keys.shopper(shopper_id), keys.shopper(other)])
    wait_for(lambda: endpoint.at_once)  # the worker has read both histories and waits for the model
    delete(shopper_id)
    endpoint.gate.set()
    wait_for(lambda: cache.peek(keys.shopper(other)) != before)  # its answer came, for both at once

    assert not Event.objects.filter(product_id="secret").exists()
    assert not OwedPurge.objects.exists()
    held = {key: value for key, value in in_redis(redis_url).items() if "secret" in key + value}
    assert held == {}
    assert "secret" not in {row["product_id"] for row in exported(tmp_path)}
    if delete in (privacy.forget, privacy.erase):
        named = [key for key, value in in_redis(redis_url).items() if keys.shopper(shopper_id) in key + value]
        assert [key for key in named if "generation" not in key] == []
        assert {row["shopper"] for row in exported(tmp_path)} == {str(Shopper.objects.get(pk=other).export_key)}
        assert not Shopper.objects.filter(export_key=export_key).exists()


def test_who_is_renewed_keeps_the_history_and_the_old_id_is_nobodys(redis: Redis, endpoint: FakeEndpoint) -> None:
    [old] = privacy.join()
    events.record(old, [NewEvent(product_id="p1", kind="view")])
    tasks.refresh()
    new = privacy.renew(old)
    assert new != old
    assert cache.peek(keys.shopper(old)) is None
    assert privacy.known(old) == {}
    assert privacy.counts(new) == {"view": 1}
    assert events.record(old, [NewEvent(product_id="p2", kind="view")]) == 0
    assert tasks.refresh() == 1
    assert cache.peek(keys.shopper(new))


def test_one_product_can_be_forgotten_and_the_rest_stays(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [NewEvent(product_id=one, kind="view") for one in ("p1", "p2")])
    tasks.refresh()
    privacy.forget_product(shopper_id, "p1")
    assert [line.product_id for line in events.history(shopper_id)] == ["p2"]
    assert cache.peek(keys.shopper(shopper_id)) is None
    tasks.refresh()
    assert "p1" not in str(cache.peek(keys.shopper(shopper_id)))
