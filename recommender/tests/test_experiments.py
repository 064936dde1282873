from collections import Counter
from typing import Any

import pytest
from redis import Redis

from recommender import events, experiments, privacy, recommendations, tasks
from recommender.events import NewEvent
from recommender.tests.fakes import FakeEndpoint


@pytest.fixture
def weights(settings: Any) -> dict[str, float]:
    chosen = {"champion": 0.8, "challenger": 0.2}
    settings.RECOMMENDER = {**settings.RECOMMENDER, "EXPERIMENT": chosen}
    return chosen


def test_without_experiment_there_is_no_arm() -> None:
    assert experiments.arm(1) == ""


def test_arms_follow_the_weights_and_stay(weights: dict[str, float]) -> None:
    arms = [experiments.arm(shopper_id) for shopper_id in range(10_000)]
    assert arms == [experiments.arm(shopper_id) for shopper_id in range(10_000)]
    assert Counter(arms)["challenger"] == pytest.approx(2_000, abs=200)


def test_widening_a_variant_moves_nobody_out_of_it(settings: Any) -> None:
    def arms(challenger: float) -> list[str]:
        split = {"champion": 1 - challenger, "challenger": challenger}
        settings.RECOMMENDER = {**settings.RECOMMENDER, "EXPERIMENT": split}
        return [experiments.arm(shopper_id) for shopper_id in range(1_000)]

    narrow, wide = arms(0.1), arms(0.5)
    assert all(later == "challenger" for earlier, later in zip(narrow, wide, strict=True) if earlier == "challenger")


@pytest.mark.django_db(transaction=True)
def test_variants_are_drained_apart_and_slates_say_their_arm(
    redis: Redis, endpoint: FakeEndpoint, weights: dict[str, float]
) -> None:
    shopper_ids = privacy.join(30)
    for shopper_id in shopper_ids:
        events.record(shopper_id, [NewEvent(product_id="p1", kind="view")])
    tasks.request_refresh(["product:p1"])
    assert tasks.refresh() == 31
    asked = [headers.get("X-Amzn-SageMaker-Target-Variant") for headers in endpoint.headers]
    assert asked == [None, "challenger", "champion"]
    for shopper_id in shopper_ids:
        slate = recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"]
        assert slate.arm == experiments.arm(shopper_id) != ""
    assert recommendations.for_page(product_id="p1", names=["together"])["together"].arm == ""
