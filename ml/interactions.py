"""Users' sets of products → rows: ridge, co-occurrence, or both in one matrix, as a validation part decides."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import sparse

from ml import ridge
from ml.cooccurrence import (
    Matrix,
    Neighbours,
    diagonal,
    length_damped,
    powers,
    similarity,
    strongest,
    strongest_per_row,
)
from ml.kernel import Codes, Places
from ml.questions import Questions, Term, recall_and_ndcg
from ml.search import MARGIN, Grids, Search
from ml.sets import Lines

NEIGHBOURS = 200
VALIDATION = 0.1  # of the interactions
TRIALS = {"pairs": 10, "ridge": 12, "blend": 8}
metrics = recall_and_ndcg


@dataclass(frozen=True, slots=True)
class Settings:
    user_exponent: float = -0.5  # weight of a user by the number of products
    own: float = 0.7  # co-occurrence's exponents
    partner: float = 0.3
    candidates: int = 100  # K of the ridge
    penalty: float = 10.0
    popularity: float = 0.0  # the ridge's column scale: own diagonal ** -popularity
    pairs: float = 0.3  # co-occurrence's share beside a ridge of 1
    ridge: float = 1.0


PAIR_GRIDS: Grids = {
    "partner": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    "own": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    "user_exponent": [-1.0, -0.75, -0.5, -0.25, 0.0],
}
RIDGE_GRIDS: Grids = {
    "penalty": [0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0],
    "user_exponent": [-1.0, -0.75, -0.5, -0.25, 0.0],
    "popularity": [-0.1, 0.0, 0.1, 0.2, 0.3],
}
BLEND_GRIDS: Grids = {
    "candidates": [50, 100, 200, 320],
    "pairs": [0.0, 0.15, 0.3, 0.5, 0.8, 1.2],
    "penalty": RIDGE_GRIDS["penalty"],
}


class Estimator:
    """Fits one training part with whatever settings; what two settings share is made once."""

    def __init__(self, train: Lines) -> None:
        ones = np.ones(len(train.product), dtype=np.float32)
        self._held = sparse.csr_matrix((ones, train.product, train.start), shape=(len(train), train.products))
        self._damped = lru_cache(1)(lambda exponent: length_damped(self._held, exponent))
        self._near = lru_cache(2)(self._nearest)  # a search turns back to its best
        self._ridge = lru_cache(1)(self._ridge_rows)
        self._pairs = lru_cache(1)(self._pair_rows)

    def fit(self, settings: Settings) -> list[Term]:
        if not settings.ridge:
            return [Term(self._pairs(settings.user_exponent, settings.own, settings.partner))]
        rows = self._ridge(settings.user_exponent, settings.candidates, settings.penalty)
        itself = diagonal(self._damped(settings.user_exponent))
        rows = rows.dot(sparse.diags(powers(itself, -settings.popularity))).tocsr()
        if settings.pairs:
            pairs = self._pairs(settings.user_exponent, settings.own, settings.partner)
            rows = rows + pairs * (settings.pairs * rows.sum() / max(pairs.sum(), 1e-12))
        return [Term(strongest_per_row(rows.tocsr().astype(np.float32), NEIGHBOURS))]

    def _nearest(self, exponent: float, damping: float, count: int) -> Neighbours:
        return strongest(self._damped(exponent), damping, count)

    def _ridge_rows(self, exponent: float, candidates: int, penalty: float) -> Matrix:
        count = min(candidates, self._held.shape[1])
        return ridge.fit(self._damped(exponent), self._near(exponent, 0.5, count), penalty)

    def _pair_rows(self, exponent: float, own: float, partner: float) -> Matrix:
        near = strongest(self._damped(exponent), partner, min(NEIGHBOURS, self._held.shape[1]))
        return similarity(near, diagonal(self._damped(exponent)), own, partner)


def validation(train: Lines, seed: int) -> tuple[Lines, Questions]:
    """A random tenth of every user's products held out, one at least where that leaves another to ask with.

    So light users count in tuning as they do in a test, which asks every user alike.
    """
    lengths = np.diff(train.start)
    user = np.repeat(np.arange(len(train)), lengths)
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(user)), user))
    many = np.where(lengths > 1, np.maximum(1, np.round(lengths * VALIDATION)), 0)
    out = np.zeros(len(user), dtype=bool)
    out[shuffled] = np.arange(len(user)) - train.start[user] < many[user]
    starts = [
        np.concatenate([[0], np.cumsum(np.bincount(user[part], minlength=len(train)))]).astype(np.int64)
        for part in (~out, out)
    ]
    left = Lines(train.product[~out], starts[0], train.products)
    asked = np.flatnonzero((np.diff(starts[0]) > 0) & (np.diff(starts[1]) > 0))
    return left, Questions(*_of(left.product, starts[0], asked), *_of(train.product[out], starts[1], asked), False)


def _of(product: Codes, start: Places, lines: Places) -> tuple[Codes, Places]:
    lengths = np.diff(start)
    kept = np.repeat(np.isin(np.arange(len(lengths)), lines), lengths)
    return product[kept], np.concatenate([[0], np.cumsum(lengths[lines])]).astype(np.int64)


def tune(search: Search[Settings]) -> Settings:
    """Co-occurrence alone, then ridge alone, then both: the best of all of them."""
    search.margin = MARGIN
    pairs = search.best(Settings(ridge=0.0), PAIR_GRIDS, TRIALS["pairs"])
    alone = replace(pairs, ridge=1.0, pairs=0.0, user_exponent=-0.5)
    alone = search.best(alone, RIDGE_GRIDS, TRIALS["ridge"])
    both = search.best(alone, BLEND_GRIDS, TRIALS["blend"])
    return max(both, pairs, key=lambda settings: search.scores[settings])
