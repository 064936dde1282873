"""Promise 7, and the merge of promise 9: consent is checked before anything is stored, and withdrawing it wins."""

import json
from collections.abc import Callable
from uuid import UUID

import pytest
from redis import Redis

from recommender import aws, cache, events, keys, privacy, recommendations, store, tasks
from recommender.events import NewEvent
from recommender.models import Event, OwedPurge, Shopper
from recommender.tests.conftest import waiting
from recommender.tests.fakes import FakeEndpoint

pytestmark = pytest.mark.django_db(transaction=True)


def view(product_id: str, key: str | None = None) -> NewEvent:
    return NewEvent(product_id=product_id, kind="view", key=key)


def with_slate(shopper_id: int) -> None:
    events.record(shopper_id, [view("p1")])
    tasks.refresh()
    assert cache.peek(keys.shopper(shopper_id))


@pytest.mark.parametrize("withdraw", [privacy.opt_out, privacy.forget])
class TestWithdrawing:
    def test_redis_forgets_at_once(self, redis: Redis, endpoint: FakeEndpoint, withdraw: Callable[[int], None]) -> None:
        [shopper_id] = privacy.join()
        with_slate(shopper_id)
        events.record(shopper_id, [view("p2")])
        withdraw(shopper_id)
        assert cache.peek(keys.shopper(shopper_id)) is None
        assert redis.zcard("{aisle}:pending") == 0
        assert not OwedPurge.objects.exists()

    def test_it_wins_over_a_drain_that_is_under_way(
        self, redis: Redis, endpoint: FakeEndpoint, withdraw: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The drain has read the history and asked the endpoint; then the shopper withdraws; then it writes."""
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        recommend = aws.recommend

        def meanwhile(*asked: object) -> object:
            withdraw(shopper_id)
            return recommend(*asked)  # type: ignore[arg-type]

        monkeypatch.setattr(aws, "recommend", meanwhile)
        assert tasks.refresh() == 0
        assert cache.peek(keys.shopper(shopper_id)) is None

    def test_it_waits_for_a_redis_that_is_away_and_the_sweep_settles_it(
        self, redis: Redis, endpoint: FakeEndpoint, withdraw: Callable[[int], None], redis_away: Callable[[], None]
    ) -> None:
        [shopper_id] = privacy.join()
        with_slate(shopper_id)
        with pytest.MonkeyPatch.context() as away:
            away.setattr(store, "_away_until", float("inf"))
            withdraw(shopper_id)
        assert OwedPurge.objects.count() == 1
        assert redis.exists(f"{{aisle}}:slate:{keys.shopper(shopper_id)}")
        tasks.sweep()
        assert not redis.exists(f"{{aisle}}:slate:{keys.shopper(shopper_id)}")
        assert not OwedPurge.objects.exists()

    def test_an_unknown_shopper_may_withdraw(self, redis: Redis, withdraw: Callable[[int], None]) -> None:
        withdraw(12345)
        assert not OwedPurge.objects.exists()


def test_who_opted_out_is_not_asked_for(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [view("p1")])
    privacy.opt_out(shopper_id)
    recommendations.for_page(shopper_id=shopper_id, names=["again"])
    tasks.refresh()
    assert endpoint.requests == []
    assert not privacy.is_in(shopper_id)


def test_who_opts_in_again_finds_what_was_kept(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [view("p1")])
    privacy.opt_out(shopper_id)
    recommendations.for_page(shopper_id=shopper_id, names=["again"])
    tasks.refresh()
    privacy.opt_in(shopper_id)
    tasks.refresh()
    assert privacy.is_in(shopper_id)
    assert recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].source == "fresh"


def test_forgetting_deletes_events_and_cuts_the_tie_to_exports(redis: Redis) -> None:
    [shopper_id] = privacy.join()
    events.record(shopper_id, [view("p1")])
    key = Shopper.objects.get().export_key
    privacy.forget(shopper_id)
    assert Event.objects.count() == 0
    assert isinstance(key, UUID)
    assert Shopper.objects.get().export_key != key
    assert privacy.known(shopper_id)["events"] == []


def test_what_is_known_is_everything_and_json(redis: Redis, endpoint: FakeEndpoint) -> None:
    [shopper_id] = privacy.join()
    with_slate(shopper_id)
    events.record(shopper_id, [NewEvent(product_id="p9", kind="click", slate_id="s", position=2)])
    known = json.loads(json.dumps(privacy.known(shopper_id)))
    assert [event["product_id"] for event in known["events"]] == ["p9", "p1"]
    assert set(known["events"][0]) == {field.name for field in Event._meta.fields} - {"id", "shopper"}
    assert set(known["recommendations"]) == {"for_you", "again"}
    assert privacy.known(shopper_id + 1) == {}


class TestMerging:
    def test_the_visitors_history_becomes_the_shoppers_and_the_visitor_ends(
        self, redis: Redis, endpoint: FakeEndpoint
    ) -> None:
        visitor, shopper = privacy.join(2)
        with_slate(visitor)
        events.record(shopper, [view("p2", key="k")])
        events.record(visitor, [view("p2", key="k")])  # the same report, before and after signing in
        tasks.refresh()
        privacy.merge(visitor, shopper)
        assert sorted(Event.objects.values_list("shopper_id", "product_id")) == [(shopper, "p1"), (shopper, "p2")]
        assert not Shopper.objects.filter(pk=visitor).exists()
        assert not redis.exists(f"{{aisle}}:slate:{keys.shopper(visitor)}")
        assert waiting(redis) == {keys.shopper(shopper)}
        assert tasks.refresh() == 1
        assert {item["product_id"] for item in endpoint.queries[-1]["history"]} == {"p1", "p2"}

    @pytest.mark.parametrize("opted_out", [0, 1])
    def test_without_the_consent_of_both_the_visitors_history_is_deleted(self, redis: Redis, opted_out: int) -> None:
        both = privacy.join(2)
        events.record(both[0], [view("p1")])
        privacy.opt_out(both[opted_out])
        privacy.merge(*both)
        assert Event.objects.count() == 0

    def test_a_visitor_who_is_nobody_merges_into_nothing(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [view("p1")])
        privacy.merge(999, shopper_id)
        privacy.merge(shopper_id, shopper_id)
        assert Event.objects.get().shopper_id == shopper_id

    def test_a_visitor_who_merges_into_nobody_leaves_nothing(self, redis: Redis) -> None:
        [visitor] = privacy.join()
        events.record(visitor, [view("p1")])
        privacy.merge(visitor, 999)
        assert Event.objects.count() == 0
