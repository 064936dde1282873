"""A new model answers: product slates are asked for again, once; and what sells is asked for by the clock."""

import pytest
from redis import Redis

from recommender import cache, pending, tasks
from recommender.tests.fakes import FakeEndpoint

pytestmark = pytest.mark.django_db


def warmings(redis: Redis) -> int:
    return sum('"task": "recommender.tasks.warm_products"' in str(one) for one in redis.lrange("refresh", 0, -1))


def test_a_change_of_model_asks_for_every_products_slates_once(redis: Redis, endpoint: FakeEndpoint) -> None:
    for version in ("m1", "m1", "m2", "m1", "m2"):  # a canary: two models answer in turn
        endpoint.model_version = version
        pending.add(["product:p1"])
        tasks.refresh()
    assert warmings(redis) == 1
    redis.delete("{aisle}:warming")  # ten minutes later
    pending.add(["product:p1"])
    tasks.refresh()
    assert warmings(redis) == 2


def test_after_a_canary_no_slate_of_the_old_model_is_left(redis: Redis, endpoint: FakeEndpoint) -> None:
    def answers(version: str) -> None:
        endpoint.model_version = version
        pending.add(["popular:"])
        tasks.refresh()

    def warmed_by(version: str) -> set[str]:
        tasks.warm_products()
        endpoint.model_version = version
        tasks.refresh()
        bodies = cache.read([f"product:p{n}" for n in range(1, 31)]).held
        return {held.decoded().model_version for held in bodies.values()}

    answers("m1")
    redis.delete("{aisle}:warming")
    answers("m2")  # the canary begins: products are asked for…
    assert warmings(redis) == 2
    assert warmed_by("m1") == {"m1"}  # …and the old model is who answers
    answers("m2")  # the canary is over
    assert warmings(redis) == 2
    redis.delete("{aisle}:warming")  # ten minutes later
    answers("m2")
    assert warmings(redis) == 3
    assert warmed_by("m2") == {"m2"}
    redis.delete("{aisle}:warming")
    answers("m2")
    assert warmings(redis) == 3


def test_warming_asks_for_the_whole_catalogue_behind_what_shoppers_wait_for(redis: Redis) -> None:
    assert tasks.warm_products() == 30
    assert redis.zcard("{aisle}:later") == 30
    assert redis.zcard("{aisle}:pending") == 0


def test_what_sells_is_asked_for_overall_and_in_each_category(redis: Redis, endpoint: FakeEndpoint) -> None:
    assert tasks.refresh_popular() == 4
    assert tasks.refresh() == 4
    asked = {query["slates"][0].get("category") for query in endpoint.queries}
    assert asked == {None, "C0", "C1", "C2"}
