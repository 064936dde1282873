"""The compiled reader reads what the contract's own reader reads, and leaves it all that is odd."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml import contract, kernel
from ml.contract import KINDS, SLATES, ContractError
from ml.model import Model
from ml.request import queries_of

KNOWN = st.sampled_from([f"p{number:02}" for number in range(40)])
IDS = KNOWN | st.text("ab-_.0", min_size=1, max_size=9)
AGES = st.integers(0, int(contract.MAX_AGE)) | st.floats(1, 1e7).map(lambda age: round(age, 6))
HISTORY = st.lists(
    st.builds(
        lambda *values: dict(zip(("product_id", "kind", "age", "count"), values, strict=True)),
        IDS, st.sampled_from(sorted(KINDS)), AGES, st.integers(1, 999),
    ),
    max_size=5,
)  # fmt: skip
SLATE = st.builds(
    lambda name, limit, more: {"name": name, "limit": limit, **{key: more[key] for key in sorted(more)}},
    st.sampled_from(sorted(SLATES)),
    st.integers(1, contract.MAX_LIMIT),
    st.fixed_dictionaries({}, optional={"exclude": st.lists(IDS, max_size=3), "repeats": st.booleans()}),
)
QUERY = st.builds(
    lambda slate_id, history, slates: {"slate_id": slate_id, "history": history, "slates": slates},
    IDS, HISTORY, st.lists(SLATE, max_size=3, unique_by=lambda slate: slate["name"]),
)  # fmt: skip
BODIES = st.lists(QUERY, max_size=3).map(lambda queries: orjson.dumps({"version": 1, "queries": queries}))


def body(**changes: Any) -> bytes:
    item = {"product_id": "p00", "kind": "purchase", "age": 1.5, "count": 1, **changes}
    query = {"slate_id": "q", "history": [item], "slates": [{"name": "for_you", "limit": 3}]}
    return orjson.dumps({"version": 1, "queries": [query]})


@pytest.fixture(scope="module")
def ready(model: Model) -> Model:
    model.compile()
    return model


def slowly(model: Model, content: bytes) -> Any:
    """By msgspec, objects and the plain kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "top", kernel.top_plain)
        return json.loads(model.answer(queries_of(content)))


@settings(max_examples=150)
@given(BODIES)
def test_the_shops_own_form_is_read_as_any_other_would_be(ready: Model, content: bytes) -> None:
    found = ready._answers.read(content)

    assert found is not None
    assert json.loads(found) == slowly(ready, content)


@settings(max_examples=400)
@given(BODIES, st.data())
@example(body(age=0), None)
def test_what_is_read_keeps_to_the_contract(ready: Model, content: bytes, data: st.DataObject | None) -> None:
    if data is not None:
        place = data.draw(st.integers(0, len(content) - 1))
        put = data.draw(
            st.sampled_from([b"", b"0", b"9", b'"', b",", b"]", b"}", b".", b"-", b"e", b"\\", b"\xc3", b" "])
        )
        content = content[:place] + put + content[place + data.draw(st.integers(0, 2)) :]
    found = ready._answers.read(content)

    if found is not None:
        assert json.loads(found) == slowly(ready, content)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", body()[:-1], body() + b" ", body(age=-1), body(age=True), body(age=contract.MAX_AGE + 1),
        body(age=1e16), body(count=0), body(count=1.0), body(count=contract.MAX_COUNT + 1), body(kind="look"),
        body(product_id=""), body(product_id="p" * 129), body(product_id="é"), body(product_id='"'), body(more=1),
        body().replace(b"1.5", b"01.5"), body().replace(b"1.5", b"1."), body().replace(b"1.5", b".5"),
        body().replace(b'"limit":3', b'"limit":201'), body().replace(b'"limit":3', b'"limit":3,"category":"Milk"'),
        orjson.dumps({"version": 1, "queries": [{"slate_id": "q", "history": json.loads(body())["queries"][0]["history"]
                                                 * 501, "slates": []}]}),
    ],
)  # fmt: skip
def test_what_is_odd_or_wrong_is_left_to_the_contracts_own_reader(ready: Model, content: bytes) -> None:
    assert ready._answers.read(content) is None


def test_a_reply_is_right_or_refused_whoever_reads(ready: Model) -> None:
    odd = json.dumps(json.loads(body()), indent=1).encode()

    assert ready.reply(odd) == ready.reply(body())
    with pytest.raises(ContractError, match=r"queries\[0\].history\[0\].kind"):
        ready.reply(body(kind="look"))
