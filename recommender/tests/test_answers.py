"""The compiled decoder and the contract's own parser accept the same answers and refuse the same."""

from copy import deepcopy
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import contract
from recommender import answers

GOOD: dict[str, Any] = {
    "version": 1,
    "model_version": "m1",
    "answers": [
        {
            "slate_id": "a",
            "slates": {
                "for_you": [{"product_id": "p1", "score": 0.5, "because": "p2"}, {"product_id": "p3", "score": 1}]
            },
            "new": "a field of a later version",
        }
    ],
}
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.just("x" * 129),
    st.just("é" * 128), st.just([]), st.just({}), st.just([{"product_id": "p", "score": 0.1, "because": None}] * 201),
)  # fmt: skip


def places(message: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = message.items() if isinstance(message, dict) else enumerate(message) if isinstance(message, list) else ()
    return [path, *(one for name, value in inner for one in places(value, (*path, name)))]


def verdict(body: bytes) -> str:
    try:
        contract.parse_response(body, orjson.loads)
    except contract.ContractError as error:
        return error.field
    return ""


@given(st.sampled_from(places(GOOD)[1:]), ANYTHING, st.booleans())
def test_both_say_the_same_of_an_answer_with_anything_in_any_place(
    path: tuple[Any, ...], value: Any, without: bool
) -> None:
    message: Any = deepcopy(GOOD)
    holder = message
    for step in path[:-1]:
        holder = holder[step]
    if without:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    try:
        body = msgspec.json.encode(message)  # which can write what orjson would refuse
    except (OverflowError, ValueError):
        return
    field = verdict(body)
    if field:
        with pytest.raises(contract.ContractError) as raised:
            answers.decoded(body)
        assert raised.value.field == field
    else:
        assert answers.decoded(body).model_version


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"version":1}', b'{"version":1.0}'])
def test_what_is_no_answer_is_refused_in_the_contracts_words(body: bytes) -> None:
    with pytest.raises(contract.ContractError) as raised:
        answers.decoded(body)
    assert raised.value.field == verdict(body) != ""


def test_a_score_that_no_number_can_hold_is_refused() -> None:
    with pytest.raises(contract.ContractError):
        answers.decoded(orjson.dumps(GOOD).replace(b"0.5", b"1e999"))
