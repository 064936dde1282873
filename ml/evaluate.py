"""How good a model is, by what shoppers did in weeks that it never saw, and whether it may go live.

    python -m ml evaluate EXPORT_DIR [--json FILE]

learns from all but the last weeks of an export and asks the model through the same door as the shop does. Histories
are folded to one item a product and cut at the contract's limit; a shop that sends fewer gets less (README.md).
Three protocols, k = 20:

    novel         all products that a shopper buys in the held-out weeks and never bought before   (slate for_you)
    next_basket   all products of a shopper's first held-out basket                                (slate again)
    completion    the other half of a held-out basket, given a random half                         (slate complete)
                  twice: for a visitor, and for a known household with its history (completion_known)

Rivals: popularity, and plain cosine co-occurrence of baskets.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ml import data
from ml.blocks import Fill, on_all_cores
from ml.contract import MAX_HISTORY, HistoryItem, Query, SlateName
from ml.cooccurrence import diagonal, holding, similarity, strongest
from ml.data import PURCHASE, Export, Interactions
from ml.errors import MlError
from ml.learn import NEIGHBOURS, Hyperparameters, learn
from ml.model import SECONDS_A_DAY, Model
from ml.questions import stacked
from ml.slates import Recipe, Term

K = 20
HOLDOUT_DAYS = 28
SEED = 20171204
SOLD_ENOUGH = 10  # purchases before the held-out weeks that a product needs to count
SMALLEST_BASKET = 3  # products of a basket to be foretold
SMALLEST_HALVED = 4  # products of a basket to be completed
MOST_BASKETS = 5_000
BATCH = 250

PROTOCOLS = ("novel", "next_basket", "completion", "completion_known")
RIVALS = ("popularity", "co-occurrence")
OURS = "aisle"
OBJECTIVE = "objective"  # what tuning looks at
METRICS = (*(f"{protocol}:{metric}@{K}" for protocol in PROTOCOLS for metric in ("recall", "ndcg")), OBJECTIVE)

Report = dict[str, dict[str, dict[str, float]]]  # protocol, then model, then metric


class GateError(MlError):
    """A model that must not go live."""


def metric_definitions() -> list[tuple[str, str]]:
    """(name, regular expression) of every line that a training job prints: SageMaker's MetricDefinitions."""
    return [(name, f"{name}=([0-9.]+)") for name in METRICS]


def recall_at_k(ranked: Sequence[Sequence[str]], wanted: Sequence[frozenset[str]], k: int = K) -> NDArray[np.float64]:
    """Of each shopper's wanted products, the share among the first k: one score a shopper."""
    return np.array([len(good.intersection(row[:k])) / len(good) for row, good in zip(ranked, wanted, strict=True)])


def ndcg_at_k(ranked: Sequence[Sequence[str]], wanted: Sequence[frozenset[str]], k: int = K) -> NDArray[np.float64]:
    """Discounted gain of the first k over that of the best possible order: one score a shopper."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)
    return np.array(
        [
            sum(discount[place] for place, product_id in enumerate(row[:k]) if product_id in good)
            / ideal[min(len(good), k) - 1]
            for row, good in zip(ranked, wanted, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """One protocol, ready to ask: what each shopper's query holds and what they then wanted."""

    protocol: str
    slate: SlateName
    repeats: bool
    histories: list[list[HistoryItem]]
    wanted: list[frozenset[str]]


def evaluate(
    export: Export,
    settings: Hyperparameters,
    holdout_days: int = HOLDOUT_DAYS,
    seed: int = SEED,
    tell: Callable[[str], None] = print,
    fill: Fill = on_all_cores,
) -> Report:
    """Learn without the last ``holdout_days`` and score what the model and its rivals foretell of them."""
    before, held_out = data.split(export, holdout_days)
    tell(f"learning from {len(before.interactions):,} events, {len(held_out):,} held out")
    ours = learn(before, settings, "evaluation", fill)
    cosine = co_occurrence(before, ours)
    report: Report = {}
    for trial in trials(before, held_out, seed):
        scores = {
            "popularity": score(ours, trial, slate="popular"),
            "co-occurrence": score(cosine, trial, trial.slate),
            OURS: score(ours, trial, trial.slate),
        }
        report[trial.protocol] = scores
        tell(f"{trial.protocol}: {len(trial.wanted):,} shoppers, recall@{K} {scores[OURS][f'recall@{K}']:.4f}, "
             f"{OBJECTIVE}={objective(report):.6f}")  # fmt: skip
    return report


def gate(report: Report) -> None:
    """Raise GateError unless the model beats popularity at everything that shoppers will see."""
    if not report:
        raise GateError("the report is empty, so nothing is known of the model; look at the training job's log")
    for protocol, scores in report.items():
        for metric in (f"recall@{K}", f"ndcg@{K}"):
            ours, popularity = scores[OURS][metric], scores["popularity"][metric]
            if not ours > popularity:
                raise GateError(
                    f"{protocol}: {metric} is {ours:.4f} and popularity's is {popularity:.4f}; "
                    "the model stays out, look at the export's newest weeks"
                )


def trials(before: Export, held_out: Interactions, seed: int) -> list[Trial]:
    """The protocols' questions. Households without any history are asked too: they get popularity."""
    ids = np.array(before.catalogue.product_id, dtype=object)
    past = before.interactions.where(before.interactions.kind == PURCHASE)
    later = held_out.where(held_out.kind == PURCHASE)
    later = later.where((np.bincount(past.product, minlength=len(ids)) >= SOLD_ENOUGH)[later.product])
    if not len(later):
        raise data.DataError(
            f"nothing sold {SOLD_ENOUGH} times before the held-out weeks was sold in them, so there is nothing to "
            "foretell; export a longer time"
        )
    pasts = _slices(past.shopper)
    generator = np.random.default_rng(seed)

    def history(shopper: int, day: float) -> list[HistoryItem]:
        return folded(past, pasts.get(shopper, _NOBODY), day, ids)

    def wanted(products: NDArray[np.int32]) -> frozenset[str]:
        return frozenset(ids[products])

    novel = Trial("novel", "for_you", False, [], [])
    following = Trial("next_basket", "again", True, [], [])
    visitor = Trial("completion", "complete", False, [], [])
    known = Trial("completion_known", "complete", True, [], [])
    baskets: list[tuple[int, float, NDArray[np.int32]]] = []
    cut = float(np.floor(later.day[0]))
    for shopper, entries in _slices(later.shopper).items():
        new = np.setdiff1d(later.product[entries], past.product[pasts.get(shopper, _NOBODY)])
        if len(new) and shopper in pasts:
            novel.histories.append(history(shopper, cut))
            novel.wanted.append(wanted(new))
        first = True
        for lines in _slices(later.basket[entries]).values():
            products = np.unique(later.product[entries[lines]])
            if len(products) < SMALLEST_BASKET:
                continue
            day = float(later.day[entries[lines[0]]])
            if len(products) >= SMALLEST_HALVED:
                baskets.append((shopper, day, products))
            if first:
                following.histories.append(history(shopper, day))
                following.wanted.append(wanted(products))
                first = False
    for number in np.sort(generator.permutation(len(baskets))[:MOST_BASKETS]):
        shopper, day, products = baskets[number]
        shuffled = generator.permutation(products)
        given, hidden = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
        cart = [HistoryItem(product_id=name, kind="cart", age=0.0, count=1) for name in ids[given]]
        visitor.histories.append(cart)
        known.histories.append((cart + history(shopper, day))[:MAX_HISTORY])
        visitor.wanted.append(wanted(hidden))
        known.wanted.append(wanted(hidden))
    return [trial for trial in (novel, following, visitor, known) if trial.wanted]


_NOBODY = np.zeros(0, dtype=np.int64)


def folded(past: Interactions, entries: NDArray[np.int64], day: float, ids: NDArray[np.object_]) -> list[HistoryItem]:
    """Purchases before ``day``: one item a product, the latest MAX_HISTORY, newest first."""
    products, place, counts = np.unique(past.product[entries][::-1], return_index=True, return_counts=True)
    newest = np.argsort(place)[:MAX_HISTORY]
    ages = (day - past.day[entries][::-1][place[newest]]) * SECONDS_A_DAY
    return [
        HistoryItem(product_id=name, kind="purchase", age=max(age, 0.0), count=count)
        for name, age, count in zip(ids[products[newest]], ages.tolist(), counts[newest].tolist(), strict=True)
    ]


def score(model: Model, trial: Trial, slate: SlateName) -> dict[str, float]:
    """Mean metrics of one slate of one model, and how many shoppers they are the mean of."""
    ranked: list[list[str]] = []
    for first in range(0, len(trial.histories), BATCH):
        queries: list[Query] = [
            {
                "slate_id": "trial",
                "history": history,
                "slates": [
                    {
                        "name": slate,
                        "limit": K,
                        "repeats": trial.repeats,
                        "exclude": [item["product_id"] for item in history if item["kind"] == "cart"],
                    }
                ],
            }
            for history in trial.histories[first : first + BATCH]
        ]
        for answer in model.recommend(queries):
            ranked.append([item["product_id"] for item in answer["slates"][slate]])
    return {
        f"recall@{K}": float(recall_at_k(ranked, trial.wanted).mean()),
        f"ndcg@{K}": float(ndcg_at_k(ranked, trial.wanted).mean()),
        "shoppers": float(len(ranked)),
    }


def co_occurrence(export: Export, ours: Model) -> Model:
    """The rival: plain cosine co-occurrence of baskets, the same for every slate."""
    seen, number = export.interactions, {product_id: code for code, product_id in enumerate(ours.product_ids)}
    product = np.array([number[product_id] for product_id in export.catalogue.product_id], dtype=np.int32)
    baskets = holding(seen.basket, product[seen.product], np.ones(len(seen)), len(product))
    baskets.data[:] = 1
    near = strongest(baskets, 0.5, NEIGHBOURS)
    rows = stacked([similarity(near, diagonal(baskets), own=0.5, partner=0.5)])
    recipe = Recipe((Term("cosine", {"purchase": 1.0, "cart": 1.0}),), hides=("cart", "dismiss"))
    return replace(ours, row_sets=("cosine",), rows=rows, slates=dict.fromkeys(ours.slates, recipe))


def metrics(report: Report) -> dict[str, float]:
    """The model's own figures by the names of METRICS; protocols without data are absent."""
    figures = {
        f"{protocol}:{name}@{K}": scores[OURS][f"{name}@{K}"]
        for protocol, scores in report.items()
        for name in ("recall", "ndcg")
    }
    return {**figures, OBJECTIVE: objective(report)}


def objective(report: Report) -> float:
    """Geometric mean of the model's recall and ndcg at all protocols so far: a percent counts the same in each.

    After the n-th protocol it compares with other models' after their n-th, so tuning may stop a trial early.
    """
    figures = [scores[OURS][f"{name}@{K}"] for scores in report.values() for name in ("recall", "ndcg")]
    return float(np.exp(np.mean(np.log(np.maximum(figures, 1e-6)))))


def table(report: Report) -> Table:
    grid = Table(title=f"Held-out weeks: recall@{K} / ndcg@{K}")
    grid.add_column("protocol")
    grid.add_column("shoppers", justify="right")
    for model in (*RIVALS, OURS):
        grid.add_column(model, justify="right")
    for protocol, scores in report.items():
        cells = [f"{scores[model][f'recall@{K}']:.4f} / {scores[model][f'ndcg@{K}']:.4f}" for model in (*RIVALS, OURS)]
        grid.add_row(protocol, f"{scores[OURS]['shoppers']:,.0f}", *cells)
    return grid


def _slices(keys: NDArray[np.int32]) -> dict[int, NDArray[np.int64]]:
    """The entries of each key, in their order; keys in order of their first entry."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    parts = dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True))
    return dict(sorted(parts.items(), key=lambda item: int(item[1][0])))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("export", type=Path, metavar="EXPORT_DIR", help="folder with events/, products/ and _SUCCESS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON too")


def run(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    with console.status("reading the export") as status:
        report = evaluate(data.read(arguments.export), Hyperparameters(), tell=status.update)
    Console().print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    gate(report)
    return 0
