"""The wire: golden files of every version are spoken, what is valid survives, each breach names its field."""

import copy
import csv
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import contract
from ml.contract import ContractError, parse_request, parse_response

GOLDEN = Path(__file__).parent / "golden"
Edit = Callable[[Any], object]

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=contract.MAX_TEXT)
history_items = st.fixed_dictionaries(
    {
        "product_id": text,
        "kind": st.sampled_from(sorted(contract.KINDS)),
        "age": st.floats(0, contract.MAX_AGE),
        "count": st.integers(1, contract.MAX_COUNT),
    }
)
slate_queries = st.fixed_dictionaries(
    {"name": st.sampled_from(sorted(contract.SLATES)), "limit": st.integers(1, contract.MAX_LIMIT)},
    optional={"exclude": st.lists(text, max_size=3), "category": text, "repeats": st.booleans()},
)
requests = st.fixed_dictionaries(
    {
        "version": st.just(contract.VERSION),
        "queries": st.lists(
            st.fixed_dictionaries(
                {
                    "slate_id": text,
                    "history": st.lists(history_items, max_size=3),
                    "slates": st.lists(slate_queries, max_size=3),
                }
            ),
            max_size=3,
        ),
    }
)
recommendations = st.fixed_dictionaries(
    {"product_id": text, "score": st.floats(allow_nan=False, allow_infinity=False), "because": st.none() | text}
)
responses = st.fixed_dictionaries(
    {
        "version": st.just(contract.VERSION),
        "model_version": text,
        "answers": st.lists(
            st.fixed_dictionaries(
                {
                    "slate_id": text,
                    "slates": st.dictionaries(
                        st.sampled_from(sorted(contract.SLATES)), st.lists(recommendations, max_size=3), max_size=3
                    ),
                }
            ),
            max_size=3,
        ),
    }
)


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def test_golden_request_is_understood_with_every_decoder() -> None:
    body = (GOLDEN / "request-v1.json").read_bytes()

    assert parse_request(body) == parse_request(body, orjson.loads) == golden("request-v1.json")


def test_golden_response_is_understood_with_every_decoder() -> None:
    body = (GOLDEN / "response-v1.json").read_bytes()

    assert parse_response(body) == parse_response(body, orjson.loads) == golden("response-v1.json")


def test_golden_tables_have_the_contracts_columns_and_values() -> None:
    with (GOLDEN / "events-v1.csv").open(newline="") as file:
        events = list(csv.DictReader(file))
    with (GOLDEN / "products-v1.csv").open(newline="") as file:
        products = list(csv.DictReader(file))

    assert tuple(events[0]) == contract.EVENT_COLUMNS
    assert tuple(products[0]) == contract.PRODUCT_COLUMNS
    assert {event["kind"] for event in events} == contract.KINDS
    assert {event["product_id"] for event in events} == {product["product_id"] for product in products}
    assert all(datetime.fromisoformat(event["time"]).utcoffset() is not None for event in events)
    assert [float(product["price"]) for product in products] == [1.29, 0.99, 2.5]


@settings(max_examples=50)
@given(requests)
def test_every_valid_request_survives_the_wire(request_: Any) -> None:
    assert parse_request(json.dumps(request_).encode()) == request_


@settings(max_examples=50)
@given(responses)
def test_every_valid_response_survives_the_wire(response: Any) -> None:
    assert parse_response(json.dumps(response).encode()) == response


json_values = st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
)


@settings(max_examples=50)
@given(st.binary(max_size=200) | json_values)
def test_nonsense_is_refused_and_never_anything_worse(body: bytes) -> None:
    for parse in (parse_request, parse_response):
        with pytest.raises(ContractError):
            parse(body)


def query(message: Any) -> Any:
    return message["queries"][0]


BREACHES: list[tuple[str, Edit]] = [
    ("version", lambda m: m.update(version=2)),
    ("version", lambda m: m.update(version=True)),
    ("queries", lambda m: m.update(queries={})),
    ("queries", lambda m: m.update(queries=m["queries"] * (contract.MAX_QUERIES // 2 + 1))),
    ("queries[0]", lambda m: m["queries"].__setitem__(0, "all")),
    ("queries[1].slate_id", lambda m: m["queries"][1].update(slate_id="x" * (contract.MAX_TEXT + 1))),
    ("queries[0].history", lambda m: query(m).pop("history")),
    ("queries[0].history", lambda m: query(m).update(history=query(m)["history"] * contract.MAX_HISTORY)),
    ("queries[0].history[1]", lambda m: query(m)["history"].__setitem__(1, 5)),
    ("queries[0].history[2].product_id", lambda m: query(m)["history"][2].update(product_id=1041453)),
    ("queries[0].history[0].kind", lambda m: query(m)["history"][0].update(kind="impression")),
    ("queries[0].history[0].age", lambda m: query(m)["history"][0].update(age=-1)),
    ("queries[0].history[0].age", lambda m: query(m)["history"][0].update(age=contract.MAX_AGE * 2)),
    ("queries[0].history[0].age", lambda m: query(m)["history"][0].update(age=True)),
    ("queries[0].history[0].count", lambda m: query(m)["history"][0].update(count=0)),
    ("queries[0].history[0].count", lambda m: query(m)["history"][0].update(count=contract.MAX_COUNT + 1)),
    ("queries[0].slates", lambda m: query(m).update(slates=query(m)["slates"] * 3)),
    ("queries[0].slates[0]", lambda m: query(m)["slates"].__setitem__(0, None)),
    ("queries[0].slates[1].name", lambda m: query(m)["slates"][1].update(name="for_me")),
    ("queries[0].slates[1].limit", lambda m: query(m)["slates"][1].update(limit=contract.MAX_LIMIT + 1)),
    ("queries[0].slates[1].limit", lambda m: query(m)["slates"][1].update(limit=2.0)),
    ("queries[0].slates[0].exclude", lambda m: query(m)["slates"][0].update(exclude=["1"] * 1_001)),
    ("queries[0].slates[0].exclude", lambda m: query(m)["slates"][0].update(exclude=[""])),
    ("queries[0].slates[2].category", lambda m: query(m)["slates"][2].update(category="")),
    ("queries[0].slates[0].repeats", lambda m: query(m)["slates"][0].update(repeats="no")),
]


@pytest.mark.parametrize(("field", "edit"), BREACHES, ids=[f"{n}-{field}" for n, (field, _) in enumerate(BREACHES)])
def test_a_request_that_breaks_the_contract_names_its_field(field: str, edit: Edit) -> None:
    message = copy.deepcopy(golden("request-v1.json"))
    edit(message)

    with pytest.raises(ContractError) as caught:
        parse_request(json.dumps(message).encode())

    assert caught.value.field == field


ANSWER_BREACHES: list[tuple[str, Edit]] = [
    ("model_version", lambda m: m.pop("model_version")),
    ("answers", lambda m: m.update(answers=None)),
    ("answers[1].slate_id", lambda m: m["answers"][1].update(slate_id=7)),
    ("answers[0].slates", lambda m: m["answers"][0].update(slates=[])),
    ("answers[0].slates.for_me", lambda m: m["answers"][0].update(slates={"for_me": []})),
    ("answers[0].slates.again", lambda m: m["answers"][0]["slates"]["again"][0].update(score="0.5") or m),
]


@pytest.mark.parametrize(("field", "edit"), ANSWER_BREACHES, ids=[field for field, _ in ANSWER_BREACHES])
def test_an_answer_that_breaks_the_contract_names_its_field(field: str, edit: Edit) -> None:
    message = copy.deepcopy(golden("response-v1.json"))
    edit(message)

    with pytest.raises(ContractError) as caught:
        parse_response(json.dumps(message).encode())

    assert caught.value.field.startswith(field)


def test_a_request_past_the_byte_limit_is_refused_before_it_is_decoded() -> None:
    def never(body: bytes) -> Any:
        raise AssertionError("decoded")

    with pytest.raises(ContractError, match="the limit is 4000000") as caught:
        parse_request(b" " * (contract.MAX_BYTES + 1), never)

    assert caught.value.field == "body"
