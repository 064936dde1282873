"""The compiled decoder and the contract's own reader say the same of every body."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import contract, request
from ml.contract import ContractError, parse_request
from ml.request import queries_of

GOLDEN = (Path(__file__).parent / "golden" / "request-v1.json").read_bytes()
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 0.5, 1e300, 10**30, "", "view", "x" * 128, "x" * 129, "é" * 128, "\u2028\0", "p",
    [], {}, [None], ["p"], ["p"] * 1001, [""], {"name": "again"},
    contract.MAX_AGE, contract.MAX_AGE + 1, contract.MAX_COUNT, contract.MAX_COUNT + 1, 200, 201,
]  # fmt: skip


def verdict(body: bytes) -> Any:
    """What the contract says: the queries, or which field is wrong and how."""
    try:
        return parse_request(body, orjson.loads)["queries"]
    except ContractError as error:
        return str(error)


def said(body: bytes) -> Any:
    try:
        return queries_of(body)
    except ContractError as error:
        return str(error)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in inside for place in [(value, key), *places(each)]]


@settings(max_examples=500)
@given(st.data())
def test_a_changed_request_meets_the_contracts_own_verdict(data: st.DataObject) -> None:
    message = json.loads(GOLDEN)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places(message) or [({"a": 1}, "a")]))
        if data.draw(st.booleans()):
            holder[key] = deepcopy(data.draw(st.sampled_from(ODD)))
        else:
            del holder[key]
    body = json.dumps(message).encode()

    assert said(body) == verdict(body)


def test_the_golden_request_never_needs_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = verdict(GOLDEN)
    monkeypatch.setattr(contract, "parse_request", None)

    assert queries_of(GOLDEN) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b'"text"', b"[" * 100_000, GOLDEN + b"}", GOLDEN.replace(b'"version"', b'"\xff"', 1),
        GOLDEN.replace(b"purchase", b"\\ud800"), GOLDEN.replace(b"view", b"\xed\xa0\x80"),
        b" " * contract.MAX_BYTES + GOLDEN,
    ],
)  # fmt: skip
def test_what_is_no_request_at_all_is_refused_in_the_contracts_words(body: bytes) -> None:
    assert said(body) == verdict(body)
    assert isinstance(said(body), str)


def test_the_decoder_knows_the_contracts_fields() -> None:
    pairs: list[tuple[Any, Any]] = [
        (request._HistoryItem, contract.HistoryItem), (request._SlateQuery, contract.SlateQuery),
        (request._Query, contract.Query), (request._Request, contract.Request),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert (ours.__required_keys__, ours.__optional_keys__) == (theirs.__required_keys__, theirs.__optional_keys__)
