"""Products held out entirely are found by what they resemble, and nothing of them is learnt."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml import data, newcomers
from ml.__main__ import main
from ml.evaluate import SOLD_ENOUGH
from ml.tests import samples


def test_new_products_are_found_better_than_by_their_shelf(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "ONE_IN", 2)
    monkeypatch.setattr(newcomers, "K", 4)

    assert main(["newcomers", str(export), "--json", str(tmp_path / "report.json")]) == 0

    report = json.loads((tmp_path / "report.json").read_text())
    ours = report.pop("aisle")
    assert set(report) == {
        "chance", "department's popularity", "department's mean popularity",
        "category's popularity", "category's mean popularity",
    }  # fmt: skip
    assert all(ours["recall@4"] > rival["recall@4"] for rival in report.values())
    assert all(ours["ndcg@4"] > rival["ndcg@4"] for rival in report.values())
    assert "held out entirely" in capsys.readouterr().out


def test_held_out_are_some_of_those_that_sell_and_the_same_ones_each_time(export: Path) -> None:
    read = data.read(export)

    held_out, again = (newcomers.chosen(read, np.random.default_rng(3)) for _ in range(2))

    assert held_out.tolist() == again.tolist()
    sold = np.bincount(read.interactions.product, minlength=len(held_out))
    assert 0 < held_out.sum() <= -(-(sold >= SOLD_ENOUGH).sum() // newcomers.ONE_IN)
    assert (sold[held_out] >= SOLD_ENOUGH).all()


def test_only_shoppers_with_a_past_are_asked_and_none_of_it_is_held_out(export: Path) -> None:
    before, later = data.split(data.read(export), 28)
    held_out = newcomers.chosen(before, np.random.default_rng(3))
    ids = np.array(before.catalogue.product_id, dtype=object)
    known = before.interactions.where(~held_out[before.interactions.product])

    histories, wanted = newcomers.questions(known, later, held_out, ids)

    assert 0 < len(wanted) == len(histories) <= samples.SHOPPERS
    assert all(history for history in histories)
    assert not {item["product_id"] for history in histories for item in history} & set(ids[held_out])
    assert frozenset().union(*wanted) <= set(ids[held_out])
