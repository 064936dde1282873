"""An index finds what a dictionary finds, compiled or not."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ml import compiled
from ml.answers import points
from ml.index import Index, Texts

IDS = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=9)


@given(
    st.lists(st.one_of(IDS, st.text("ab", min_size=1, max_size=3)), min_size=1, unique=True),
    st.lists(st.one_of(st.text(max_size=12), st.text("ab", max_size=4))),
)
@example(["p1", "p10", "p100"], ["p", "p1", "p10", "p100", "p1000", "", "p1\0", "\0", "p1\0p10", "\ud800", "日本"])
@example(["日本", "本"], ["本", "日", "日本"])
def test_an_index_finds_what_a_dictionary_finds(product_ids: list[str], strangers: list[str]) -> None:
    index = Index.of(product_ids, ["Milk"] * len(product_ids))
    code_of = {product_id: code for code, product_id in enumerate(product_ids)}
    asked = [*strangers, *product_ids, *strangers]
    expected = [code_of.get(product_id, -1) for product_id in asked]

    assert index.codes(asked).tolist() == expected
    found = np.empty(len(asked), np.int32)
    compiled.find(index.points, index.bucket, index.member, points(asked), found)
    assert found.tolist() == expected


def test_nothing_asked_is_nothing_found() -> None:
    assert Index.of(["p1"], ["Milk"]).codes([]).tolist() == []


def test_each_category_lists_its_products_in_order_of_popularity() -> None:
    category = ["Milk", "Beer", "Milk", "Ärmel", "Beer"]
    index = Index.of(["p0", "p1", "p2", "p3", "p4"], category)
    spans = index.spans(category)

    assert index.shelved[:5].tolist() == [0, 1, 2, 3, 4]
    assert {name: index.shelved[slice(*span)].tolist() for name, span in spans.items()} == {
        "Milk": [0, 2], "Beer": [1, 4], "Ärmel": [3],
    }  # fmt: skip


def test_texts_are_plain_strings() -> None:
    texts = Texts(Index.of(["p0", "p1"], ["Milk", "Beer"]).product_id)

    assert [list(texts), texts[1], texts[:1], len(texts)] == [["p0", "p1"], "p1", ["p0"], 2]
    assert {type(text) for text in (*texts, texts[0])} == {str}
