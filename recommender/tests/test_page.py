"""Promises 1, 2, 5, 6 and 8: what a page reads, and from where."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis
from redis.connection import AbstractConnection

from recommender import cache, events, keys, pending, privacy, store, tasks
from recommender.cache import Body
from recommender.events import NewEvent
from recommender.recommendations import for_page
from recommender.tests.conftest import ROOT, waiting
from recommender.tests.fakes import MODEL_VERSION, FakeEndpoint

ALL = ["for_you", "again", "together", "similar", "complete", "popular"]


def put(key: str, slate_id: str = "s", **slates: list[tuple[str, float, str | None]]) -> None:
    columns = {
        name: ([one[0] for one in items], [one[1] for one in items], [one[2] for one in items])
        for name, items in slates.items()
    }
    cache.put([cache.Entry(key, Body(slate_id, "m1", "", columns))], deadline=0)


def age(redis: Redis, key: str) -> None:
    """Let a slate be stale."""
    redis.setrange(f"{{aisle}}:slate:{key}", 0, "\0" * 8)


@contextmanager
def round_trips() -> Iterator[list[bytes]]:
    """Everything that any Redis client of this process sends meanwhile, Celery's included."""
    sent: list[bytes] = []
    original = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        sent.append(b"".join(command) if isinstance(command, list) else command)
        original(self, command, check_health)  # type: ignore[no-untyped-call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", counted)
        yield sent


class TestThePageNeverWaitsForAws:
    def test_a_process_that_reads_and_writes_never_loads_boto3(self) -> None:
        said = subprocess.run(
            [
                sys.executable, "-c",
                "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'storefront.settings'; django.setup()\n"
                "from recommender import events, privacy, recommendations\n"
                "recommendations.for_page(viewed=['p1'], names=['for_you', 'popular'])\n"
                "print({'boto3', 'botocore', 'pyarrow'} & set(sys.modules))",
            ],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert said.stdout == "set()\n"

    @pytest.mark.django_db(transaction=True)
    def test_a_page_asks_the_endpoint_for_nothing(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
        for_page(shopper_id=shopper_id, viewed=["p1"], product_id="p2", cart=["p3"], category="C1", names=ALL)
        assert endpoint.requests == []


@pytest.mark.django_db
class TestOneRoundTrip:
    def test_a_page_that_needs_everything_costs_one_round_trip(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        wanted: dict[str, Any] = {
            "shopper_id": shopper_id, "viewed": ["p1", "p2", "p3"], "product_id": "p4", "cart": ["p5", "p6"],
            "category": "C1", "names": ALL,
        }  # fmt: skip
        put(keys.shopper(shopper_id), for_you=[("a", 1.0, "p1")], again=[("b", 1.0, "b")])
        for product in ("p1", "p2", "p3", "p4"):
            put(keys.product(product), for_you=[("c", 1.0, product)], together=[("d", 1.0, product)], similar=[])
        put(keys.cart(["p5", "p6"]), complete=[("e", 1.0, "p5")])
        put(keys.popular("C1"), popular=[("f", 1.0, None)])
        put(keys.popular(), popular=[("g", 1.0, None)])
        for_page(**wanted)  # connects, and teaches Redis the script
        with round_trips() as sent:
            page = for_page(**wanted)
        assert len(sent) == 1
        assert {name: slate.ids[0] for name, slate in page.items() if slate.ids} == {
            "for_you": "a", "again": "b", "together": "d", "complete": "e", "popular": "f",
        }  # fmt: skip

    def test_a_page_that_finds_nothing_asks_for_it_in_the_same_round_trip(self, redis: Redis) -> None:
        for_page(names=["popular"])
        pending.take(1)
        pending.add(["product:other"])  # a wake-up waits, so none is sent
        with round_trips() as sent:
            for_page(viewed=["p1"], cart=["p2"], category="C1", names=ALL)
        assert len(sent) == 1
        assert waiting(redis) == {"product:other", "product:p1", "cart:p2", "popular:C1"}

    def test_reading_twice_asks_once_and_not_while_the_answer_is_under_way(self, redis: Redis) -> None:
        for_page(product_id="p1", names=["together"])
        assert pending.take(10).keys == ("product:p1",)
        for_page(product_id="p1", names=["together"])
        assert redis.zcard("{aisle}:pending") == 0


@pytest.mark.django_db
class TestThereIsAlwaysSomethingToShow:
    def test_the_shoppers_own_slate_comes_first(self, redis: Redis) -> None:
        self.fill()
        assert self.shown(1) == ("fresh", ["own"])

    def test_a_stale_slate_is_shown_and_asked_for_again(self, redis: Redis) -> None:
        self.fill()
        age(redis, "shopper:1")
        assert self.shown(1) == ("stale", ["own"])
        assert waiting(redis) == {"shopper:1"}

    def test_without_own_slate_what_goes_with_the_last_looks(self, redis: Redis) -> None:
        self.fill()
        assert self.shown(2) == ("viewed", ["beside"])
        assert "shopper:2" in waiting(redis)

    def test_without_looks_what_sells_in_the_category_and_then_overall(self, redis: Redis) -> None:
        self.fill()
        redis.delete("{aisle}:slate:product:p1")
        assert self.shown(2) == ("category", ["in C1", "overall"])

    def test_without_category_what_sells(self, redis: Redis) -> None:
        self.fill()
        redis.delete("{aisle}:slate:product:p1", "{aisle}:slate:popular:C1")
        assert self.shown(2) == ("popular", ["overall"])

    def test_without_redis_what_this_process_remembers(self, redis: Redis, redis_away: Callable[[], None]) -> None:
        self.fill()
        self.shown(1)
        redis_away()
        assert self.shown(1) == ("category", ["in C1", "overall"])
        assert for_page(names=["for_you"])["for_you"].ids[0] == "overall"

    def test_with_nothing_at_all_the_panel_is_absent(self, redis: Redis, redis_away: Callable[[], None]) -> None:
        redis_away()
        page = for_page(shopper_id=1, viewed=["p1"], product_id="p1", cart=["p1"], category="C1", names=ALL)
        assert {(slate.source, slate.ids) for slate in page.values()} == {("none", ())}

    def test_a_slate_that_is_known_to_be_empty_gives_way_and_is_not_asked_for_again(self, redis: Redis) -> None:
        self.fill()
        cache.put([cache.Entry("shopper:2", Body())], 0)
        assert self.shown(2) == ("viewed", ["beside"])
        assert waiting(redis) == set()

    @pytest.mark.parametrize("lost", ["SCRIPT FLUSH", "CLIENT KILL TYPE normal"])
    def test_a_redis_that_was_restarted_is_read_as_before(self, redis: Redis, lost: str) -> None:
        self.fill()
        before = self.shown(1)
        assert before == ("fresh", ["own"])
        redis.execute_command(lost)  # type: ignore[no-untyped-call]
        assert self.shown(1) == before

    def test_a_redis_that_is_away_is_asked_once_a_second_and_not_by_every_page(
        self, redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = 0

        def nobody() -> Redis:
            nonlocal asked
            asked += 1
            return Redis.from_url("redis://127.0.0.1:9/0")

        monkeypatch.setattr(store, "client", nobody)
        for _ in range(5):
            with pytest.raises(cache.CacheDown):
                cache.peek("popular:")
        assert asked == 1

    @staticmethod
    def fill() -> None:
        put("shopper:1", for_you=[("own", 1.0, "p1")])
        put("product:p1", for_you=[("beside", 1.0, "p1")])
        put("popular:C1", popular=[("in C1", 1.0, None)])
        put("popular:", popular=[("overall", 1.0, None)])

    @staticmethod
    def shown(shopper_id: int) -> tuple[str, list[str]]:
        slate = for_page(shopper_id=shopper_id, viewed=["p1"], category="C1", names=["for_you"])["for_you"]
        return slate.source, list(slate.ids)


@pytest.mark.django_db
class TestVisitorsWithoutHistory:
    def test_slates_of_the_last_looks_are_summed_by_recency(self, redis: Redis) -> None:
        put("product:p1", "one", for_you=[("x", 0.59, "p1"), ("y", 0.3, "p1"), ("v", 0.26, "p1")])
        put("product:p2", "two", for_you=[("y", 0.6, "p2"), ("z", 0.5, "p2"), ("p1", 0.9, "p2")])
        slate = for_page(viewed=["p1", "p2"], names=["for_you"])["for_you"]
        assert [(product_id, slate.because[product_id]) for product_id in slate.ids] == [
            ("y", "p1"),  # 0.3 + 0.6 / 2 = 0.6: both say so, the latest look as much as the one before
            ("x", "p1"),  # 0.59
            ("v", "p1"),  # 0.26
            ("z", "p2"),  # 0.5 / 2 = 0.25
        ]
        assert (slate.slate_id, slate.model_version) == ("one+two", "m1")

    def test_what_popularity_filled_in_goes_with_nothing(self, redis: Redis) -> None:
        put("product:p1", for_you=[("x", 0.4, None)])
        assert for_page(viewed=["p1"], names=["for_you"])["for_you"].source == "none"

    def test_only_the_last_three_looks_count(self, redis: Redis) -> None:
        for_page(viewed=["p1", "p2", "p3", "p4"], names=["for_you"])
        assert waiting(redis) == {"product:p1", "product:p2", "product:p3", "popular:"}

    def test_they_are_served_by_the_real_model(self, redis: Redis, model_server: str, monkeypatch: Any) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", model_server)
        for_page(viewed=["p01", "p02"], names=["for_you"])
        tasks.refresh()
        slate = for_page(viewed=["p01", "p02"], names=["for_you"])["for_you"]
        assert slate.source == "viewed"
        assert {*slate.because.values()} <= {"p01", "p02"}
        assert not {"p01", "p02"} & {*slate.ids}


@pytest.mark.django_db(transaction=True)
class TestWhatIsShown:
    def test_dismissed_products_are_hidden_everywhere_and_bought_ones_from_something_new(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        put("popular:", popular=[("a", 3.0, None), ("b", 2.0, None), ("c", 1.0, None)])
        events.record(shopper_id, [NewEvent(product_id="a", kind="purchase"), NewEvent(product_id="b", kind="dismiss")])
        page = for_page(shopper_id=shopper_id, names=["for_you", "popular"])
        assert list(page["for_you"].ids) == ["c"]
        assert list(page["popular"].ids) == ["a", "c"]

    def test_a_slate_says_which_of_its_reasons_were_bought(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        put(keys.shopper(shopper_id), for_you=[("x", 2.0, "a"), ("y", 1.0, "b")])
        events.record(shopper_id, [NewEvent(product_id="a", kind="purchase"), NewEvent(product_id="b", kind="view")])
        assert for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].bought == {"a"}

    def test_what_was_bought_may_be_bought_again(self, redis: Redis) -> None:
        [shopper_id] = privacy.join()
        put(keys.shopper(shopper_id), again=[("a", 1.0, "a")])
        events.record(shopper_id, [NewEvent(product_id="a", kind="purchase")])
        assert for_page(shopper_id=shopper_id, names=["again"])["again"].ids[0] == "a"

    def test_slates_carry_more_than_a_panel_shows_and_every_item_says_why(
        self, redis: Redis, endpoint: FakeEndpoint
    ) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
        tasks.refresh()
        slate = for_page(shopper_id=shopper_id, names=["for_you"])["for_you"]
        assert len(slate.ids) == 48
        assert slate.because == dict.fromkeys(slate.ids, "p1")

    def test_every_slate_says_which_answer_of_which_model_it_is(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
        wanted: dict[str, Any] = {"shopper_id": shopper_id, "product_id": "p1", "cart": ["p1"], "names": ALL}
        for_page(**wanted)
        tasks.refresh()
        page = for_page(**wanted)
        asked = {query["slate_id"] for query in endpoint.queries}
        assert {slate.slate_id for slate in page.values()} == asked
        assert {slate.model_version for slate in page.values()} == {MODEL_VERSION}

    def test_a_new_slate_has_a_new_id(self, redis: Redis, endpoint: FakeEndpoint) -> None:
        [shopper_id] = privacy.join()
        events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
        tasks.refresh()

        def slate_id() -> str:
            return for_page(shopper_id=shopper_id, names=["for_you"])["for_you"].slate_id

        before = slate_id()
        assert slate_id() == before
        events.record(shopper_id, [NewEvent(product_id="p2", kind="view")])
        tasks.refresh()
        assert slate_id() != before
