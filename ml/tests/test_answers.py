"""What the compiled kernel writes means what the plain one says, whatever the ids look like."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml import kernel
from ml.answers import Answers
from ml.index import Index
from ml.kernel import Kernel, Rows, Task, Terms
from ml.slates import KIND_NAMES

# NUL ends an id, and a lone surrogate is no UTF-8, so Parquet holds neither.
IDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=6)
SCORES = st.floats(0, 1e6, allow_subnormal=False)


def answers(product_ids: list[str], popularity: list[float], values: list[float]) -> Answers:
    """Each product's row is all products, by ``values``; a purchase counts for what it is."""
    many = len(product_ids)
    rows = Rows(
        np.arange(many + 1, dtype=np.int64) * many,
        np.tile(np.arange(many, dtype=np.int32), many),
        np.resize(np.array(values, np.float32), many * many),
    )
    for array in rows:
        array.flags.writeable = False
    ones, liking = np.ones(1), np.ones((1, len(KIND_NAMES)))
    index = Index.of(product_ids, ["Milk"] * many)
    terms = Terms(np.zeros(1, np.int64), liking, ones, ones, ones)
    return Answers(Kernel(rows, terms, index.shelved, many), index, np.array(popularity), np.empty((0, 3, 5), np.int64))


def said(asked: Answers, *question: Any) -> list[Any]:
    return [json.loads(b"[%b]" % text) for text in asked.lists(*question)]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(IDS, SCORES), min_size=1, max_size=8, unique_by=lambda pair: pair[0]),
    st.lists(st.sampled_from([0.0, 0.1, 1.0, 7.25, 3e5]), min_size=1),
    st.lists(st.tuples(IDS, st.integers(0, 7)), max_size=6),
    st.lists(IDS, max_size=3),
)
@example(
    [('"', 0.5), ("\\", 1.0), ("\x1f\x7f", 1e-6), ("é߿ࠀ\uffff", 10.0), ("𐀀日本", 999_999.999999)], [1.0], [], ["日"]
)
def test_the_compiled_kernel_writes_what_the_plain_one_says(
    products: list[tuple[str, float]], values: list[float], strangers: list[tuple[str, int]], excluded: list[str]
) -> None:
    product_ids = [product_id for product_id, _ in products]
    asked = answers(product_ids, [popularity for _, popularity in products], values)
    history = strangers + [(product_ids[place % len(product_ids)], place) for _, place in strangers]
    ids = [*(product_id for product_id, _ in history), *excluded]
    events = np.array([(place % 4, place, 1) for _, place in history], np.float64).reshape(-1, 3)
    many, last = len(products), len(history)
    tasks = np.array([
        Task(0, last, 0, 1, 0, last, len(ids), 0, many, many),  # filled by popularity
        Task(0, last, 0, 0, 2, 0, 0, 0, many, max(1, many - 1)),  # popularity alone
        Task(last // 2, last, 0, 1, 4, 0, 0, 0, 0, many),
    ], np.int64)  # fmt: skip

    compiled = said(asked, ids, events, tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "top", kernel.top_plain)
        assert compiled == said(asked, ids, events, tasks)
