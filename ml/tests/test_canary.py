"""What the canary's known questions take for a bad answer."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ml import canary
from ml.aws import alarms, answers
from ml.aws.client import AwsError
from ml.canary import Canary, CanaryError

Model = Callable[[dict[str, Any]], bytes]
SOLD = [f"p{number}" for number in range(30)]


def well(query: dict[str, Any], products: list[str] = SOLD, **changes: Any) -> bytes:
    items = [{"product_id": each, "score": 1.0, "because": None} for each in products]
    slates = {query["slates"][0]["name"]: items}
    answer = {"slate_id": query["slate_id"], "slates": slates} | changes
    return json.dumps({"version": 1, "model_version": "m", "answers": [answer]}).encode()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], None]:
    """Let a model answer what the endpoint is asked."""

    def put(model: Model) -> None:
        monkeypatch.setattr(answers, "ask", lambda endpoint, body: model(json.loads(body)["queries"][0]))

    put(well)
    return put


def test_the_serving_model_s_own_answers_are_good(serve: Callable[[Model], None]) -> None:
    assert not Canary("aisle").bad("p1")


def test_other_products_of_the_same_shop_are_good(serve: Callable[[Model], None]) -> None:
    asked = Canary("aisle")
    serve(lambda query: well(query, [*SOLD[:10], "new-1", "new-2"]))
    assert not asked.bad("p1")


@pytest.mark.parametrize(
    "model",
    [
        lambda query: b"<html>nonsense</html>",
        lambda query: well(query, []),
        lambda query: well(query, ["x1", "x2", "x3"]),
        lambda query: well(query, slate_id="another's"),
        lambda query: well(query, slates={}),
        lambda query: well(query, slates="none"),
    ],
)
def test_nonsense_is_bad(serve: Callable[[Model], None], model: Model) -> None:
    asked = Canary("aisle")
    serve(model)
    assert asked.bad("p1")


def test_endpoint_that_recommends_nothing_cannot_be_compared_with(serve: Callable[[Model], None]) -> None:
    serve(lambda query: well(query, []))
    with pytest.raises(CanaryError, match="recommends nothing at all"):
        Canary("aisle")


def test_bad_answers_are_published_while_it_asks_and_no_answer_is_not_one(
    serve: Callable[[Model], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(canary, "EACH_SECONDS", 0.001)
    monkeypatch.setattr(canary, "PUBLISHED_SECONDS", 0.004)
    published: list[int] = []
    enough = threading.Event()

    def count(endpoint: str, config_name: str, bad: int) -> None:
        assert (endpoint, config_name) == ("aisle", "aisle-8")
        published.append(bad)
        if len(published) > 2:
            enough.set()

    monkeypatch.setattr(alarms, "count_bad_answers", count)
    asked = Canary("aisle")
    turns = iter(range(10_000))

    def every_other(query: dict[str, Any]) -> bytes:
        if next(turns) % 2:
            raise AwsError("no route")
        return b"nonsense"

    serve(every_other)
    with asked.asking("aisle-8"):
        assert enough.wait(10)
    assert set(published) == {4}
