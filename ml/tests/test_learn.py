"""Learning on tiny data with a known answer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from ml import content, cooccurrence, data, ridge
from ml.contract import EventRow, ProductRow, Query, SlateName
from ml.learn import Hyperparameters, Learner, Sales, learn, rebought
from ml.model import Model
from ml.tests import samples

SIZE = 12
DAY = datetime(2026, 11, 1, tzinfo=UTC)


def checkerboard(directory: Path) -> Model:
    """Even shoppers buy even products, odd shoppers odd ones, each all but one."""
    events = [
        EventRow(
            shopper=f"s{shopper}", basket=f"b{shopper}", product_id=f"p{product:02}", kind="purchase", quantity=1,
            time=DAY + timedelta(hours=shopper),
        )
        for shopper in range(SIZE)
        for product in range(shopper % 2, SIZE, 2)
        if product != shopper
    ]  # fmt: skip
    export = samples.write_export(directory, events, samples.product_rows()[:SIZE])
    return learn(data.read(export), Hyperparameters(candidates=SIZE), "board")


def ask(model: Model, name: SlateName, *product_ids: str, kind: str = "purchase", limit: int = SIZE) -> list[str]:
    history = [{"product_id": product_id, "kind": kind, "age": 0.0, "count": 1} for product_id in product_ids]
    query: Query = {"slate_id": "q", "history": history, "slates": [{"name": name, "limit": limit}]}  # type: ignore[typeddict-item]
    return [item["product_id"] for item in model.recommend([query])[0]["slates"][name] if item["because"]]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return checkerboard(tmp_path_factory.mktemp("board"))


@pytest.mark.parametrize("name", ["for_you", "together", "complete"])
def test_a_checkerboards_missing_squares_are_found(board: Model, name: SlateName) -> None:
    for product in range(SIZE):
        found = ask(board, name, f"p{product:02}", kind="cart")
        same_colour = {f"p{other:02}" for other in range(product % 2, SIZE, 2)} - {f"p{product:02}"}
        assert set(found) == same_colour


def test_the_one_product_that_a_shopper_lacks_comes_first(board: Model) -> None:
    for missing in range(SIZE):
        bought = [f"p{product:02}" for product in range(missing % 2, SIZE, 2) if product != missing]
        assert ask(board, "for_you", *bought) == [f"p{missing:02}"]


def test_what_two_settings_share_changes_neither(tmp_path: Path) -> None:
    export = data.read(samples.write_export(tmp_path))
    learner = Learner(export)
    learner.learn(Hyperparameters(), "first")

    for settings in (
        Hyperparameters(household_penalty=8.0),
        Hyperparameters(damping=0.9, candidates=3),
        Hyperparameters(trend=0.0, pair_history=0.5, rebuying=1.0),
    ):
        again, alone = learner.learn(settings, "again").rows, learn(export, settings, "alone").rows
        assert [array.tobytes() for array in again] == [array.tobytes() for array in alone]


def test_local_ridge_with_all_candidates_is_the_dense_solution() -> None:
    generator = np.random.default_rng(0)
    dense = (generator.random((40, 8)) < 0.4).astype(np.float32)
    held = sparse.csr_matrix(dense)

    found = ridge.fit(held, cooccurrence.strongest(held, 0.5, 7), penalty=2.0).toarray()

    gram = dense.T @ dense
    for target in range(8):
        others = np.delete(np.arange(8), target)
        left = gram[np.ix_(others, others)] + 2.0 * np.diag(np.sqrt(np.diag(gram)[others]))
        expected = np.maximum(np.linalg.solve(left.astype(np.float64), gram[others, target]), 0)
        assert found[others, target] == pytest.approx(expected, abs=1e-5)
        assert found[target, target] == 0


def test_strongest_partners_are_those_of_the_dense_co_occurrence() -> None:
    generator = np.random.default_rng(1)
    dense = generator.random((30, 10)).astype(np.float32) * (generator.random((30, 10)) < 0.5)
    held = sparse.csr_matrix(dense)

    near = cooccurrence.strongest(held, 0.5, 3)

    gram = (dense.T @ dense).astype(np.float64)
    ranked = gram / np.sqrt(np.diag(gram))
    np.fill_diagonal(ranked, -1)
    for product in range(10):
        best = np.argsort(-ranked[product])[:3]
        assert near.product[product].tolist() == best.tolist()
        assert near.weight[product] == pytest.approx(gram[product, best], rel=1e-5)


def test_rows_are_cut_to_their_strongest() -> None:
    rows = sparse.csr_matrix(np.array([[0, 5, 1, 3], [2, 0, 0, 0], [4, 4, 4, 4]], dtype=np.float32))

    cut = cooccurrence.strongest_per_row(rows, 2)

    assert cut.toarray().tolist() == [[0, 5, 0, 3], [2, 0, 0, 0], [4, 4, 0, 0]]


def test_weights_are_never_negative_and_rows_never_too_long(model: Model) -> None:
    assert (model.rows.value > 0).all()
    assert np.diff(model.rows.start).max() <= 200


def test_learning_is_the_same_twice(export: Path, model: Model) -> None:
    again = samples.small_model(export)

    assert np.array_equal(again.rows.start, model.rows.start)
    assert np.array_equal(again.rows.product, model.rows.product)
    assert np.array_equal(again.rows.value, model.rows.value)


def test_a_brand_new_product_borrows_the_rows_of_its_like(tmp_path: Path) -> None:
    new = ProductRow(
        product_id="new", name="Pasta kind 0 no. 99", department="Dinner", category="Pasta", type="Pasta kind 0",
        brand="Brand 0", size="500 g", price=1.0,
    )  # fmt: skip
    export = samples.write_export(tmp_path, products=[*samples.product_rows(), new])

    model = samples.small_model(export)

    shelf = dict(zip(model.product_ids, model.category, strict=True))
    together = ask(model, "together", "new", limit=5)
    assert together
    assert {shelf[product_id] for product_id in together} == {"Pasta"}
    assert "new" in ask(model, "similar", "p10", limit=12)
    assert "new" in ask(model, "for_you", "p10", "p12", limit=40)
    assert "new" not in ask(model, "for_you", "p30", "p32", limit=10)


def test_a_brand_new_product_is_foretold_a_little_as_those_that_it_resembles_are() -> None:
    rows = sparse.csr_matrix(np.array([[0, 0.4, 0, 0], [0.2, 0, 0.8, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.float32))
    near = sparse.csr_matrix(np.array([[0] * 4, [0] * 4, [0] * 4, [0.1, 0.6, 0.2, 0]], dtype=np.float32))

    found = content.introduce(rows, near, np.array([False, False, False, True]), lenders=2, share=0.5).toarray()

    assert found[:, :3] == pytest.approx(rows.toarray()[:, :3])
    # Three quarters of product 1 and a quarter of product 2, and these two themselves.
    assert found[:, 3] == pytest.approx([0.5 * 0.75 * 0.4, 0.5 * (0.25 * 0.8 + 0.75), 0.5 * 0.25, 0])


def test_a_catalogue_without_brand_new_products_is_left_as_it_is() -> None:
    rows = sparse.csr_matrix(np.array([[0, 0.4], [0.2, 0]], dtype=np.float32))

    assert (content.introduce(rows, rows, np.zeros(2, dtype=bool), lenders=2, share=0.5) != rows).nnz == 0


def test_what_buyers_come_back_for_is_shown_again_before_what_more_have_bought_once(tmp_path: Path) -> None:
    often = [(0, week, "p01") for week in range(8)]
    once = [(shopper, 8, "p02") for shopper in range(1, 12)]
    events = [
        EventRow(
            shopper=f"s{shopper}", basket=f"b{shopper}-{week}", product_id=product_id, kind="purchase", quantity=1,
            time=DAY + timedelta(days=7 * week),
        )
        for shopper, week, product_id in [*often, *once]
    ]  # fmt: skip
    model = learn(data.read(samples.write_export(tmp_path, events)), samples.SETTINGS, "again")

    assert model.product_ids[0] == "p02"
    assert ask(model, "again", "p01", "p02") == ["p01", "p02"]


def test_the_rate_of_coming_back_is_smoothed_and_one_where_nobody_does() -> None:
    def sales(purchases: list[float], buyers: list[float]) -> Sales:
        return Sales(np.ones(3), np.ones(3), np.array(purchases), np.array(buyers))

    # 8 of 15 purchases are repeats; five average purchases are added to each product's own.
    found = rebought(sales([10, 5, 0], [2, 5, 0]))
    assert found == pytest.approx([(8 / (8 / 15) + 5) / 15, 5 / 10, 1])
    assert rebought(sales([1, 2, 0], [1, 2, 0])).tolist() == [1, 1, 1]


def test_similar_products_share_the_type_first(model: Model) -> None:
    types = {row["product_id"]: row["type"] for row in samples.product_rows()}

    for product_id in ("p00", "p13", "p39"):
        found = ask(model, "similar", product_id, kind="view", limit=4)
        assert {types[other] for other in found} == {types[product_id]}


def test_a_catalogue_without_any_words_still_learns(tmp_path: Path) -> None:
    blank = {"name": "", "department": "", "category": "", "type": "", "brand": "", "size": ""}
    products = [ProductRow(**{**row, **blank}) for row in samples.product_rows()]  # type: ignore[typeddict-item]

    model = samples.small_model(samples.write_export(tmp_path, products=products))

    assert ask(model, "together", "p00")
    assert ask(model, "similar", "p00") == []
