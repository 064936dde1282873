"""Metrics against values worked out by hand, the protocols on the small shop, and the gate."""

from math import log2
from pathlib import Path

import numpy as np
import pytest

from ml import data, evaluate
from ml.evaluate import GateError, gate, ndcg_at_k, recall_at_k
from ml.tests import samples


def test_recall_is_the_share_of_wanted_products_among_the_first_k() -> None:
    ranked = [["a", "b", "c"], ["x", "y", "z"], []]
    wanted = [frozenset("ac"), frozenset("zqrs"), frozenset("a")]

    assert recall_at_k(ranked, wanted, k=2).tolist() == [0.5, 0.0, 0.0]
    assert recall_at_k(ranked, wanted, k=3).tolist() == [1.0, 0.25, 0.0]


def test_ndcg_discounts_by_place_and_compares_with_the_best_possible_list() -> None:
    ranked = [["a", "b", "c"], ["b", "a", "c"], ["q", "r", "a"]]
    wanted = [frozenset("ab"), frozenset("a"), frozenset("abcd")]

    found = ndcg_at_k(ranked, wanted, k=3)

    best_of_three = 1 + 1 / log2(3) + 1 / log2(4)
    assert found == pytest.approx([1.0, 1 / log2(3), (1 / log2(4)) / best_of_three])


def test_the_small_shops_habits_are_foretold_better_than_by_popularity(export: Path) -> None:
    report = evaluate.evaluate(data.read(export), samples.SETTINGS, tell=lambda line: None)

    gate(report)
    assert set(report) == set(evaluate.PROTOCOLS)
    assert set(evaluate.metrics(report)) == set(evaluate.METRICS)


def test_evaluation_is_the_same_twice_under_one_seed(export: Path) -> None:
    whole = data.read(export)

    first, second = (evaluate.evaluate(whole, samples.SETTINGS, seed=3, tell=lambda line: None) for _ in range(2))

    assert first == second


def test_nothing_of_the_held_out_weeks_reaches_a_question(export: Path) -> None:
    before, held_out = data.split(data.read(export), 28)
    ids = np.array(before.catalogue.product_id)

    for trial in evaluate.trials(before, held_out, seed=1):
        for history, wanted in zip(trial.histories, trial.wanted, strict=True):
            carted = {item["product_id"] for item in history if item["kind"] == "cart"}
            assert not carted & wanted
            if trial.protocol == "novel":
                assert not {item["product_id"] for item in history} & wanted
            assert wanted <= set(ids[held_out.product])


def test_the_gate_names_what_popularity_does_better() -> None:
    scores = {"recall@20": 0.2, "ndcg@20": 0.2}
    report = {"novel": {"aisle": scores, "popularity": {"recall@20": 0.1, "ndcg@20": 0.2}}}

    with pytest.raises(GateError, match=r"novel: ndcg@20 is 0\.2000 and popularity's is 0.2000"):
        gate(report)


def test_a_metric_that_is_not_a_number_does_not_pass_the_gate() -> None:
    nothing = {"recall@20": float("nan"), "ndcg@20": float("nan")}

    with pytest.raises(GateError):
        gate({"novel": {"aisle": nothing, "popularity": {"recall@20": 0.0, "ndcg@20": 0.0}}})


def test_the_gate_lets_no_model_pass_of_which_nothing_is_known() -> None:
    with pytest.raises(GateError, match="empty"):
        gate({})
