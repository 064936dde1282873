"""How well brand-new products find their shoppers: products held out entirely.

    python -m ml newcomers EXPORT_DIR [--json FILE]

A tenth of the products that sell loses every event and keeps its row in the catalogue. Every shopper who bought some of
them in the last weeks is asked for, with the history from before; only the held-out products are ranked, k = 20.
Popularity knows nothing of what was never sold, so the rivals go by what stands on the same shelf: the popularity of
the product's category or department, and their mean popularity of a product. Chance is an order drawn at random.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ml import data
from ml.contract import HistoryItem, Query
from ml.data import PURCHASE, Export, Interactions
from ml.evaluate import HOLDOUT_DAYS, SEED, SOLD_ENOUGH, K, folded, ndcg_at_k, recall_at_k
from ml.learn import Hyperparameters, learn
from ml.model import Model

ONE_IN = 10  # products
SHELVES = ("department", "category")
BATCH = 50
Report = dict[str, dict[str, float]]


def measure(export: Export, settings: Hyperparameters, seed: int = SEED) -> Report:
    """Mean metrics of every way to rank. Raises DataError where nobody bought what was held out."""
    before, later = data.split(export, HOLDOUT_DAYS)
    draw = np.random.default_rng(seed)
    held_out = chosen(before, draw)
    known = before.interactions.where(~held_out[before.interactions.product])
    model = learn(replace(before, interactions=known), settings, version="newcomers")
    ids = np.array(before.catalogue.product_id, dtype=object)
    histories, wanted = questions(known, later, held_out, ids)
    if not wanted:
        raise data.DataError("no shopper known before bought a held-out product; export a longer time")
    new = frozenset(ids[held_out])
    ranked = {name: [order] * len(wanted) for name, order in rivals(before, model, held_out, draw).items()}
    ranked["aisle"] = answers(model, histories, new)
    return {
        name: {
            f"recall@{K}": float(recall_at_k(each, wanted).mean()),
            f"ndcg@{K}": float(ndcg_at_k(each, wanted).mean()),
            "shoppers": float(len(wanted)),
            "products": float(len(new)),
        }
        for name, each in ranked.items()
    }


def chosen(before: Export, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Which products are held out, of those sold often enough to count."""
    seen = before.interactions
    sold = np.bincount(seen.product[seen.kind == PURCHASE], minlength=len(before.catalogue))
    selling = np.flatnonzero(sold >= SOLD_ENOUGH)
    held_out = np.zeros(len(sold), dtype=bool)
    held_out[draw.permutation(selling)[: -(-len(selling) // ONE_IN)]] = True
    return held_out


def questions(
    known: Interactions, later: Interactions, held_out: NDArray[np.bool_], ids: NDArray[np.object_]
) -> tuple[list[list[HistoryItem]], list[frozenset[str]]]:
    """Each shopper's history without the held-out products, and which of these they then bought."""
    past = known.where(known.kind == PURCHASE)
    cut = float(np.floor(later.day[0]))
    bought = later.where((later.kind == PURCHASE) & held_out[later.product])
    histories, wanted = [], []
    for shopper in np.unique(bought.shopper):
        entries = np.flatnonzero(past.shopper == shopper)
        if len(entries):
            histories.append(folded(past, entries, cut, ids))
            wanted.append(frozenset(ids[bought.product[bought.shopper == shopper]]))
    return histories, wanted


def answers(model: Model, histories: list[list[HistoryItem]], new: frozenset[str]) -> list[list[str]]:
    """``for_you`` of every history, of the new products only."""
    old = [product_id for product_id in model.product_ids if product_id not in new]
    found = []
    for first in range(0, len(histories), BATCH):
        queries: list[Query] = [
            {"slate_id": "newcomers", "history": history, "slates": [{"name": "for_you", "limit": K, "exclude": old}]}
            for history in histories[first : first + BATCH]
        ]
        found += [[item["product_id"] for item in answer["slates"]["for_you"]] for answer in model.recommend(queries)]
    return found


def rivals(
    before: Export, model: Model, held_out: NDArray[np.bool_], draw: np.random.Generator
) -> dict[str, list[str]]:
    """The first K of the held-out products for everybody, by each rival; ties in random order."""
    catalogue = before.catalogue
    popularity_of = dict(zip(model.product_ids, model.popularity.tolist(), strict=True))
    popularity = np.array([popularity_of[product_id] for product_id in catalogue.product_id])
    mixed = draw.permutation(np.flatnonzero(held_out))
    ids = np.array(catalogue.product_id, dtype=object)
    orders = {"chance": list(ids[mixed[:K]])}
    for shelf in SHELVES:
        _, number = np.unique(np.array(getattr(catalogue, shelf)), return_inverse=True)
        whole = np.bincount(number, popularity)[number]
        mean = whole / np.maximum(np.bincount(number, ~held_out)[number], 1)
        for name, value in ((f"{shelf}'s popularity", whole), (f"{shelf}'s mean popularity", mean)):
            orders[name] = list(ids[mixed[np.argsort(-value[mixed], kind="stable")[:K]]])
    return orders


def table(report: Report) -> Table:
    shoppers, products = (int(report["aisle"][key]) for key in ("shoppers", "products"))
    grid = Table(title=f"{products:,} products held out entirely, {shoppers:,} shoppers who bought some")
    grid.add_column("ranked by")
    for metric in (f"recall@{K}", f"ndcg@{K}"):
        grid.add_column(metric, justify="right")
    for name, scores in report.items():
        grid.add_row(name, f"{scores[f'recall@{K}']:.4f}", f"{scores[f'ndcg@{K}']:.4f}")
    return grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("export", type=Path, metavar="EXPORT_DIR", help="folder with events/, products/ and _SUCCESS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON too")


def run(arguments: argparse.Namespace) -> int:
    report = measure(data.read(arguments.export), Hyperparameters())
    Console().print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0
