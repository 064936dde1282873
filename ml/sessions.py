"""Click sessions → rows: what is seen in the same sessions, what follows, and the product itself.

Each is a row-set with its own weight and decay by position, so the newest click may speak for what follows it and the
whole session for what goes together. Old sessions may count less, and so may long ones.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.cooccurrence import Matrix, Neighbours, diagonal, followers, powers, strongest, strongest_per_row
from ml.questions import Questions, Term, hr_and_mrr
from ml.search import Grids, Search
from ml.sets import Lines

NEIGHBOURS = 200
VALIDATION = 0.1  # of the sessions: the last
TWO_HOP = 20  # neighbours of a neighbour
OF_LATE = 20.0  # the trend forgets a session as e ** (-this x its age), the oldest session's age being 1
TRIALS = {"starts": 60, "best": 20, "hops": 4}
metrics = hr_and_mrr


@dataclass(frozen=True, slots=True)
class Settings:
    alike: float = 0.5  # share of co-occurrence; the rest is for what follows
    alike_decay: float = 0.4  # a step back counts e ** -decay
    next_decay: float = 0.8
    itself: float = 0.2  # weight of having been seen in this session
    itself_decay: float = 0.2
    reach: float = 0.5  # what follows n clicks later counts e ** (-reach x (n - 1))
    shrink: float = 5.0  # added to a product's own sessions
    partner: float = 0.1  # exponent against popular products
    length_exponent: float = -0.5
    age: float = 0.0  # the oldest session counts e ** -age
    trend: float = 0.0  # exponent in favour of products whose share of the clicks has grown of late
    hop: float = 0.0  # weight of the neighbours' neighbours


# The decays first: how far the two kinds of rows look back decides what share each deserves.
GRIDS: Grids = {
    "next_decay": [0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0],
    "alike_decay": [0.0, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0],
    "itself": [0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8],
    "age": [0.0, 1.0, 2.0, 4.0, 8.0],
    "length_exponent": [-1.0, -0.5, 0.0],
    "reach": [0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
    "alike": [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0],
    "itself_decay": [-0.4, -0.2, 0.0, 0.2, 0.5, 1.0],
    "partner": [0.0, 0.1, 0.2, 0.3, 0.4],
    "trend": [0.0, 0.1, 0.2, 0.4, 0.6],
    "shrink": [0.0, 1.0, 2.0, 5.0, 10.0, 20.0],
}
HOP_GRIDS: Grids = {"hop": [0.0, 0.2, 0.4, 0.8, 1.2]}
# Shops differ most in this: does the next click follow the last one, or go with the whole session? One start each.
STARTS = (Settings(alike=0.2, alike_decay=1.2, itself=0.1), Settings(alike=0.85))


class Estimator:
    """Fits one training part with whatever settings; what two settings share is made once."""

    def __init__(self, train: Lines) -> None:
        self._train = train
        self._trend = _trend(train)
        self._alike = lru_cache(2)(self._seen_together)
        self._next = lru_cache(2)(self._seen_after)
        self._alike_rows = lru_cache(1)(self._made_alike)
        self._next_rows = lru_cache(1)(self._made_next)

    def fit(self, settings: Settings) -> list[Term]:
        shape = settings.shrink, settings.partner, settings.trend, settings.hop
        weights = settings.length_exponent, settings.age
        terms: list[Term] = []
        if settings.alike > 0:
            terms.append(Term(self._alike_rows(*weights, *shape), settings.alike, settings.alike_decay))
        if settings.alike < 1:
            rows = self._next_rows(*weights, settings.reach, *shape)
            terms.append(Term(rows, 1 - settings.alike, settings.next_decay))
        if settings.itself > 0:
            rows = sparse.identity(self._train.products, np.float32, "csr")
            terms.append(Term(rows, settings.itself, settings.itself_decay))
        return terms

    def _made_alike(self, length_exponent: float, age: float, *shape: float) -> Matrix:
        return self._rows(*self._alike(length_exponent, age), *shape)

    def _made_next(self, length_exponent: float, age: float, reach: float, *shape: float) -> Matrix:
        return self._rows(*self._next(length_exponent, age, reach), *shape)

    def _rows(
        self, near: Neighbours, itself: NDArray[np.float64], shrink: float, partner: float, trend: float, hop: float
    ) -> Matrix:
        valid = near.product >= 0
        product = np.repeat(np.arange(len(itself)), valid.sum(axis=1))
        target = near.product[valid]
        favour = powers(itself, -partner) * self._trend**trend
        value = near.weight[valid] / (itself + shrink)[product] * favour[target]
        rows = sparse.csr_matrix((value.astype(np.float32), (product, target)), shape=(len(itself), len(itself)))
        if hop:
            short = strongest_per_row(rows, TWO_HOP)
            rows = (rows + hop * strongest_per_row(short.dot(short), NEIGHBOURS)).tocsr()
        return strongest_per_row(rows, NEIGHBOURS)

    def _weight(self, length_exponent: float, age: float) -> NDArray[np.float64]:
        many = len(self._train)
        lengths = np.maximum(np.diff(self._train.start), 1).astype(np.float64)
        return np.asarray(lengths**length_exponent * np.exp(age * (np.arange(1, many + 1) / many - 1)))

    def _seen_together(self, length_exponent: float, age: float) -> tuple[Neighbours, NDArray[np.float64]]:
        """Each session's products once, so that nobody's reloading makes a pair."""
        train, size = self._train, (len(self._train), self._train.products)
        ones = np.ones(len(train.product), np.float32)
        held = sparse.csr_matrix((ones, train.product.copy(), train.start), shape=size)  # sorted in place below
        held.sum_duplicates()
        held.data[:] = 1
        weight = np.sqrt(self._weight(length_exponent, age))
        held = sparse.diags(weight).dot(held).tocsr().astype(np.float32)
        return strongest(held, 0.2, min(NEIGHBOURS, size[1])), diagonal(held)

    def _seen_after(self, length_exponent: float, age: float, reach: float) -> tuple[Neighbours, NDArray[np.float64]]:
        train = self._train
        weight = self._weight(length_exponent, age)
        near = followers(train.product, train.start, weight, reach, train.products, NEIGHBOURS)
        each = np.repeat(weight, np.diff(train.start))
        itself = np.bincount(train.product, each, minlength=train.products)
        return near, itself.astype(np.float64)


def validation(train: Lines, seed: int) -> tuple[Lines, Questions]:
    """The last tenth of the sessions held out, every prefix a question."""
    kept = len(train) - max(1, round(len(train) * VALIDATION))
    history, wanted, lengths = [], [], []
    for first, last in zip(train.start[kept:-1], train.start[kept + 1 :], strict=True):
        for place in range(first + 1, last):
            history.append(train.product[first:place])
            wanted.append(train.product[place])
            lengths.append(place - first)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(len(wanted) + 1, dtype=np.int64)
    asked = np.concatenate(history or [train.product[:0]])
    return train.first(kept), Questions(asked, start, np.array(wanted, dtype=np.int32), places, True)


def _trend(train: Lines) -> NDArray[np.float64]:
    """Each product's share of the latest clicks over its share of all, both smoothed by a click."""
    weight = np.exp(OF_LATE * (np.arange(1, len(train) + 1) / len(train) - 1))
    each = np.repeat(weight, np.diff(train.start))
    late = np.bincount(train.product, each, minlength=train.products) + each.mean()
    ever = np.bincount(train.product, minlength=train.products) + 1.0
    return np.asarray(late / late.sum() / (ever / ever.sum()))


def tune(search: Search[Settings]) -> Settings:
    """A short search from each start, a longer one from the better of their ends."""
    ends = [search.best(start, GRIDS, TRIALS["starts"] // len(STARTS)) for start in STARTS]
    best = search.best(max(ends, key=lambda end: search.scores[end]), GRIDS, TRIALS["best"])
    return search.best(best, HOP_GRIDS, TRIALS["hops"])
