"""Tuning, fitting and measuring on sets in the literature's formats, end to end on tiny ones."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from ml import blocks, cooccurrence, evaluate, interactions, sessions, sets
from ml.__main__ import main
from ml.benchmark import benchmark
from ml.published import SETS, published
from ml.questions import Questions, Term, hr_and_mrr, ranked, recall_and_ndcg
from ml.search import Search
from ml.sets import Lines, SetError
from ml.tests import samples

USERS, GROUPS, SIZE = 60, 3, 12


def write_interactions(directory: Path, packed: bool = False) -> Path:
    """Users of three groups, each liking its own twelve products: two thirds of them in train, the rest in test."""
    generator = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train.txt": [], "test.txt": []}
    for user in range(USERS):
        liked = generator.permutation(SIZE) + user % GROUPS * SIZE
        lines["train.txt"].append(f"{user} " + " ".join(map(str, liked[:8])))
        lines["test.txt"].append(f"{user} " + " ".join(map(str, liked[8:])))
    return write(directory, lines, packed)


def write_sessions(directory: Path, packed: bool = False) -> Path:
    """Sessions that walk round a ring of products: after n comes n + 1."""
    generator = np.random.default_rng(0)
    starts = generator.integers(0, SIZE, 120)
    lines = {
        "train_sessions.txt": [" ".join(str((start + step) % SIZE) for step in range(4)) for start in starts],
        "test_prefixes.txt": [f"{start} {(start + 1) % SIZE}\t{(start + 2) % SIZE}" for start in range(SIZE)],
    }
    return write(directory, lines, packed)


def write(directory: Path, lines: dict[str, list[str]], packed: bool = False) -> Path:
    directory.mkdir(exist_ok=True)
    for name, rows in lines.items():
        text = "".join(f"{row}\n" for row in rows).encode()
        (directory / f"{name}.gz" if packed else directory / name).write_bytes(gzip.compress(text) if packed else text)
    return directory


def questions(history: list[list[int]], wanted: list[list[int]], repeats: bool = False) -> Questions:
    def lines(parts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        flat = np.array([product for part in parts for product in part], dtype=np.int32)
        return flat, np.cumsum([0, *map(len, parts)])

    return Questions(*lines(history), *lines(wanted), repeats)


def test_interactions_are_tuned_fitted_and_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    assert main(["benchmark", str(write_interactions(tmp_path / "set")), "--json", str(report)]) == 0

    found = json.loads(report.read_text())
    assert found["metrics"]["recall@20"] == 1.0  # four of a group's twelve are left, and all come first
    assert found["metrics"]["ndcg@20"] > 0.95
    assert {"fit_seconds", "fit_cpu_seconds", "tune_seconds", "tune_cpu_seconds", "peak_rss_mb", "trials"} <= set(found)


def test_sessions_are_tuned_fitted_and_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    assert main(["benchmark", str(write_sessions(tmp_path / "set")), "--json", str(report)]) == 0

    assert json.loads(report.read_text())["metrics"] == {"hr@20": 1.0, "mrr@20": 1.0}


def test_an_exported_catalogue_is_tuned_fitted_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"

    assert main(["benchmark", str(samples.write_export(tmp_path / "export")), "--json", str(report)]) == 0

    found = json.loads(report.read_text())
    assert set(found["metrics"]) == set(evaluate.METRICS)
    printed = capsys.readouterr().out
    assert all(f"{name} │ {value:.4f}" in " ".join(printed.split()) for name, value in found["metrics"].items())
    assert found["metrics"]["completion_known:recall@20"] > 0.5
    assert found["trials"] == 5


@pytest.mark.parametrize(
    "files",
    [
        {"train.txt": ["0 1"], "test.txt": ["0 2"]},
        {"train_sessions.txt": ["1 2 3 4"], "test_prefixes.txt": ["1\t2"]},
        {"train_sessions.txt": ["1", "2", "3"], "test_prefixes.txt": ["1\t2"]},
    ],
)
def test_a_set_too_small_to_tune_on_is_refused(files: dict[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(SetError, match="too small"):
        benchmark(write(tmp_path / "set", files))


@pytest.mark.parametrize(
    "files",
    [
        {"train.txt": ["\ufeff0 1 1 2 2", "", "1 1 2 3", "2 2 3 1", "3"], "test.txt": ["0 3 3", "", "1 4", "2", "9 1"]},
        {"train.txt": ["0 1 2\r", "1 1 2\r", "2 1 2\r"], "test.txt": ["0 100\r", "5 2000000000\r"]},
        {"train_sessions.txt": ["1", "", "2 3", "4 4 4", "2 3 1 2"], "test_prefixes.txt": ["1\t2", "", " 9 9 \t 8 "]},
        {"train_sessions.txt": ["1 2", "2 1"], "test_prefixes.txt": ["1\t2", "7\t7"]},
    ],
)
def test_blank_lines_strangers_and_tiny_catalogues_are_measured(files: dict[str, list[str]], tmp_path: Path) -> None:
    found = benchmark(write(tmp_path / "set", files))["metrics"]

    assert all(0 <= value <= 1 for value in found.values())


def test_places_beyond_what_can_be_shown_stay_empty() -> None:
    rows = sparse.csr_matrix(([1.0], ([0], [1])), shape=(4, 4)).astype(np.float32)

    found = ranked([Term(rows)], questions([[0], [0, 1, 2]], [[1], [3]]))

    assert found[:, :4].tolist() == [[1, 2, 3, -1], [3, -1, -1, -1]]


@pytest.mark.parametrize("writes", [write_interactions, write_sessions])
def test_gzipped_or_not_and_on_any_number_of_threads_it_is_the_same_to_the_bit(
    writes: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = benchmark(writes(tmp_path / "plain"))  # type: ignore[operator]
    monkeypatch.setattr(blocks.os, "cpu_count", lambda: 7)  # type: ignore[attr-defined]

    packed = benchmark(writes(tmp_path / "packed", packed=True))  # type: ignore[operator]

    for name in ("metrics", "validation", "settings", "weights", "trials"):
        assert packed[name] == plain[name]


def test_rows_are_the_same_to_the_bit_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    start = np.arange(0, 4001, 8)
    train = Lines(generator.integers(0, 300, 4000).astype(np.int32), start, 300)
    made = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(blocks.os, "cpu_count", lambda threads=threads: threads)  # type: ignore[attr-defined]
        terms = sessions.Estimator(train).fit(sessions.Settings(hop=0.4))
        made.append([(term.rows.indices.tobytes(), term.rows.data.tobytes()) for term in terms])
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"train.txt": ["0 1 2", "1 x 3"], "test.txt": ["0 3"]}, "train.txt, line 2: 'x' is not a whole number"),
        ({"train.txt": ["0 1 2", "1 +-3"], "test.txt": ["0 3"]}, "train.txt, line 2: '+-3' is not a whole number"),
        ({"train.txt": ["0 1 2", "0 3"], "test.txt": ["0 3"]}, "train.txt, line 2: user 0 has a line already"),
        ({"train.txt": ["0 1 2", "1 -3"], "test.txt": ["0 3"]}, "train.txt, line 2: numbers must lie between 0 and"),
        ({"train.txt": ["0 1 2"]}, "holds neither test.txt nor test.txt.gz"),
        ({"train.txt": ["0 1 2"], "test.txt": ["0"]}, "test.txt holds no products"),
        ({"train_sessions.txt": ["1 2"], "test_prefixes.txt": ["1 2"]}, "test_prefixes.txt, line 1: must be products"),
        ({"train_sessions.txt": ["1 2"], "test_prefixes.txt": ["1\t2", "\t2"]}, "test_prefixes.txt, line 2: must be"),
        ({"notes.txt": ["1"]}, "holds neither train.txt and test.txt nor train_sessions.txt and test_prefixes.txt"),
    ],
)
def test_a_bad_set_is_refused_in_one_line(
    files: dict[str, list[str]], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", str(write(tmp_path / "set", files))]) == 2

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("benchmark:")]
    assert len(lines) == 1
    assert says in lines[0]


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    whole = write_interactions(tmp_path, packed=True) / "train.txt.gz"
    whole.write_bytes(whole.read_bytes()[:-20])

    with pytest.raises(SetError, match="not readable"):
        benchmark(tmp_path)


def test_products_are_numbered_by_popularity_in_the_training_part(tmp_path: Path) -> None:
    directory = write(tmp_path / "set", {"train.txt": ["7 50 90", "8 90"], "test.txt": ["8 50 70", "7", "9 90"]})

    train, test = sets.read_interactions(directory)

    assert train.product.tolist() == [1, 0, 0]
    assert train.products == 3
    assert test.history.tolist() == [0]
    assert test.start.tolist() == [0, 1, 1]  # user 9 has no history, user 7 nothing wanted
    assert test.wanted.tolist() == [1, 2, 0]


def test_recall_and_ndcg_agree_with_the_hand() -> None:
    asked = questions([[], []], [[5, 6], [9]])
    found = np.array([[5, 0, 6] + [-1] * 17, [1, 2, 3] + [-1] * 17], dtype=np.int32)

    ideal = 1 + 1 / np.log2(3)
    assert recall_and_ndcg(found, asked) == pytest.approx({"recall@20": 0.5, "ndcg@20": 1.5 / ideal / 2})


def test_hr_and_mrr_agree_with_the_hand() -> None:
    asked = questions([[], [], []], [[5], [9], [0]])
    found = np.array([[1, 5] + [-1] * 18, [9, 1] + [-1] * 18, [1, 2] + [-1] * 18], dtype=np.int32)

    assert hr_and_mrr(found, asked) == pytest.approx({"hr@20": 2 / 3, "mrr@20": 0.5})


def test_what_follows_counts_less_the_later_it_comes() -> None:
    clicked, start = np.array([0, 1, 2, 0, 2, 2], dtype=np.int32), np.array([0, 3, 6])

    near = cooccurrence.followers(clicked, start, np.array([1.0, 10.0]), reach=np.log(2), products=3, count=3)

    assert near.product.tolist() == [[2, 1, -1], [2, -1, -1], [2, -1, -1]]
    assert near.weight.tolist() == [[15.5, 1, 0], [1, 0, 0], [10, 0, 0]]


def test_fitting_sessions_leaves_them_in_their_order() -> None:
    clicked = np.array([3, 1, 2, 1], dtype=np.int32)
    train = Lines(clicked.copy(), np.array([0, 4]), 4)

    sessions.Estimator(train).fit(sessions.Settings())

    assert train.product.tolist() == clicked.tolist()


def test_validation_holds_out_a_tenth_and_never_an_answer_with_its_question(tmp_path: Path) -> None:
    train, _ = sets.read_interactions(write_interactions(tmp_path))

    left, asked = interactions.validation(train, seed=1)

    assert len(left.product) + len(asked.wanted) == len(train.product)
    assert 0.05 < len(asked.wanted) / len(train.product) < 0.15
    for number in range(len(asked)):
        known = asked.history[asked.start[number] : asked.start[number + 1]]
        assert not np.isin(asked.wanted[asked.wanted_start[number] : asked.wanted_start[number + 1]], known).any()


@dataclass(frozen=True)
class Point:
    x: float = 0.0
    y: float = 0.0


def test_a_search_climbs_to_the_top_and_keeps_its_budget() -> None:
    grids = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0]}

    def height(point: Point) -> float:
        return -((point.x - 2) ** 2) - (point.y - 1) ** 2

    assert Search(height).best(Point(), grids, trials=20) == Point(2.0, 1.0)
    level: Search[Point] = Search(lambda point: 1 + point.x / 1000, margin=0.005)
    assert level.best(Point(), grids, trials=20) == Point()
    short = Search(height)
    short.best(Point(), grids, trials=3)
    assert len(short.scores) == 3


def test_a_set_is_known_by_its_counts() -> None:
    name, rows = published(dict(SETS[0].counts))

    assert "gowalla" in name
    assert ("EASE^R", (0.1765, 0.1467)) in {(row.model, row.values) for row in rows}
    assert published({"train": 1, "wanted": 1}) == ("", ())
