"""Event in, panel out, with the parts that a shop would run: worker process, Redis, database, a trained model."""

import subprocess
from collections.abc import Callable

import pytest
from redis import Redis

from recommender import events, privacy, recommendations
from recommender.events import NewEvent
from recommender.tests.conftest import wait_for


@pytest.mark.django_db(transaction=True)
def test_what_a_shopper_does_comes_back_as_recommendations(
    redis: Redis, model_server: str, start_worker: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    start_worker(model_server)
    [shopper_id] = privacy.join()

    def for_you() -> recommendations.Slate:
        return recommendations.for_page(shopper_id=shopper_id, names=["for_you"])["for_you"]

    events.record(shopper_id, [NewEvent(product_id=one, kind="purchase") for one in ("p01", "p03")])
    wait_for(lambda: for_you().source == "fresh", 30)
    first = for_you()
    assert first.model_version == "small"
    assert {*first.because.values()} & {"p01", "p03"}
    assert not {"p01", "p03"} & {*first.ids}

    events.record(shopper_id, [NewEvent(product_id="p25", kind="view")])
    wait_for(lambda: for_you().slate_id != first.slate_id)
    assert "p25" in for_you().because.values()

    def page() -> dict[str, recommendations.Slate]:
        names = ["similar", "together", "complete", "popular"]
        return recommendations.for_page(product_id="p02", cart=["p04", "p05"], names=names)

    wait_for(lambda: all(slate.ids for slate in page().values()))
