"""The bench measures everything that it promises; what the figures are is not for a test to say."""

import json
from pathlib import Path

import pytest

from ml import artefact, kernel
from ml.__main__ import main
from ml.bench import LIMIT, QUICK, Shelf, made_up, made_up_queries
from ml.request import queries_of


def test_the_bench_writes_every_figure_for_every_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--json", str(tmp_path / "bench.json")]) == 0

    report = json.loads((tmp_path / "bench.json").read_text())
    figures = report["figures"]
    kinds = [{name.removeprefix(f"{shelf.key}_") for name in figures if name.startswith(shelf.key)} for shelf in QUICK]
    assert kinds[0] == kinds[1] >= {
        "ratio", "handler_ratio", "batch64_ratio", "plain_ratio", "p50_ms", "p95_ms", "p99_ms", "handler_p99_ms",
        "handler_cpu_ms", "cpu_p99_ms", "batch64_cpu_ms_per_query", "artefact_bytes", "load_ms", "cold_start_ms",
    }  # fmt: skip
    assert all(value > 0 for value in figures.values())
    assert "million_products_p99_ms" in figures
    assert {"processor", "cores", "load_average", "numba"} <= report["machine"].keys()
    assert "handler_ratio" in capsys.readouterr().out
    assert kernel.top is not kernel.top_plain


@pytest.mark.parametrize("shelf", QUICK)
def test_made_up_catalogues_repeat_and_are_answered_in_full(shelf: Shelf) -> None:
    model, again = made_up(shelf), made_up(shelf)

    queries = made_up_queries(model, 3)
    assert queries == made_up_queries(again, 3)
    assert model.recommend(queries) == again.recommend(queries)
    assert [len(answer["slates"]["for_you"]) for answer in model.recommend(queries)] == [LIMIT] * 3
    rows = model.rows.product.reshape(shelf.products, shelf.neighbours)
    assert all(len(set(row)) == shelf.neighbours for row in rows.tolist())


def test_the_bench_leaves_a_model_that_can_be_served_and_what_it_was_asked(tmp_path: Path) -> None:
    assert main(["bench", "--quick", "--base", str(tmp_path), "--json", str(tmp_path / "bench.json")]) == 0

    model = artefact.load(tmp_path / "model")
    requests = (tmp_path / "requests.jsonl").read_bytes().splitlines()
    assert len(requests) >= 64
    for queries in map(queries_of, requests):
        assert [len(answer["slates"]["for_you"]) for answer in model.recommend(queries)] == [LIMIT]
    figures = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert all(name.startswith(QUICK[0].key) for name in figures)
    assert figures[f"{QUICK[0].key}_handler_cpu_ms"] > 0
