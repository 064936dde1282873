"""Whatever the fake endpoint promises to the tests beside it, ml.serve keeps."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ml import contract
from recommender.tests import fakes


@pytest.fixture(params=["fake", "ml.serve"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "ml.serve":
        yield request.getfixturevalue("model_server")
    else:
        with fakes.running() as fake:
            yield fake.url


def post(server: str, message: Any) -> tuple[int, dict[str, Any]]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    asked = urllib.request.Request(f"{server}/endpoints/aisle/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            answer = response.read()
            contract.parse_response(answer)
            return response.status, json.loads(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def query(slate_id: str, *slates: dict[str, Any], history: tuple[str, ...] = ("p01", "p02")) -> dict[str, Any]:
    past = [{"product_id": one, "kind": "view", "age": 1.0, "count": 1} for one in history]
    return {"slate_id": slate_id, "history": past, "slates": list(slates)}


def test_every_query_is_answered_under_its_own_id_with_every_slate(server: str) -> None:
    slates = [{"name": name, "limit": 5} for name in sorted(contract.SLATES)]
    status, answer = post(server, {"version": 1, "queries": [query("a", *slates), query("b", *slates)]})
    assert status == 200
    assert answer["model_version"]
    assert [one["slate_id"] for one in answer["answers"]] == ["a", "b"]
    assert all(set(one["slates"]) == contract.SLATES for one in answer["answers"])


def test_limits_and_exclusions_are_kept_and_scores_fall(server: str) -> None:
    wanted = {"name": "for_you", "limit": 5}
    _, answer = post(server, {"version": 1, "queries": [query("a", wanted)]})
    shown = answer["answers"][0]["slates"]["for_you"]
    assert len(shown) == 5
    assert [item["score"] for item in shown] == sorted((item["score"] for item in shown), reverse=True)
    first = shown[0]["product_id"]
    _, answer = post(server, {"version": 1, "queries": [query("a", {**wanted, "exclude": [first]})]})
    assert first not in [item["product_id"] for item in answer["answers"][0]["slates"]["for_you"]]


def test_reasons_come_from_the_history(server: str) -> None:
    _, answer = post(server, {"version": 1, "queries": [query("a", {"name": "for_you", "limit": 3})]})
    assert {item["because"] for item in answer["answers"][0]["slates"]["for_you"]} <= {"p01", "p02", None}
    _, answer = post(server, {"version": 1, "queries": [query("a", {"name": "popular", "limit": 3}, history=())]})
    assert [item["because"] for item in answer["answers"][0]["slates"]["popular"]] == [None] * 3


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (b"{", "body"),
        ({"version": 99, "queries": []}, "version"),
        ({"version": 1, "queries": [query("a", {"name": "for_you", "limit": 0})]}, "queries[0].slates[0].limit"),
    ],
)
def test_a_request_that_breaks_the_contract_is_a_400_naming_the_field(server: str, message: Any, field: str) -> None:
    status, told = post(server, message)
    assert (status, told["field"]) == (400, field)
