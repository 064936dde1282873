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
TWO_HOP = 50  # neighbours of a neighbour
TRIALS = {"first": 50, "hops": 6}
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
    hop: float = 0.0  # weight of the neighbours' neighbours


GRIDS: Grids = {
    "alike": [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0],
    "alike_decay": [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0],
    "next_decay": [0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0],
    "partner": [0.0, 0.1, 0.2, 0.3, 0.4],
    "itself": [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6],
    "age": [0.0, 1.0, 2.0, 4.0, 8.0],
    "reach": [0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
    "shrink": [0.0, 1.0, 2.0, 5.0, 10.0, 20.0],
    "length_exponent": [-1.0, -0.5, 0.0],
    "itself_decay": [-0.4, -0.2, 0.0, 0.2, 0.5, 1.0],
}
HOP_GRIDS: Grids = {"hop": [0.0, 0.2, 0.4, 0.8, 1.2]}


class Estimator:
    """Fits one training part with whatever settings; what two settings share is made once."""

    def __init__(self, train: Lines) -> None:
        self._train = train
        self._alike = lru_cache(2)(self._seen_together)
        self._next = lru_cache(2)(self._seen_after)

    def fit(self, settings: Settings) -> list[Term]:
        weights = settings.length_exponent, settings.age
        terms: list[Term] = []
        products = self._train.products
        if settings.alike:
            near, itself = self._alike(*weights)
            rows = self._rows(near, itself, settings)
            terms.append(Term(rows, settings.alike, settings.alike_decay))
        if settings.alike < 1:
            near, itself = self._next(*weights, settings.reach)
            rows = self._rows(near, itself, settings)
            terms.append(Term(rows, 1 - settings.alike, settings.next_decay))
        if settings.itself:
            terms.append(Term(sparse.identity(products, np.float32, "csr"), settings.itself, settings.itself_decay))
        return terms

    def _rows(self, near: Neighbours, itself: NDArray[np.float64], settings: Settings) -> Matrix:
        valid = near.product >= 0
        product = np.repeat(np.arange(len(itself)), valid.sum(axis=1))
        target = near.product[valid]
        value = near.weight[valid] / (itself + settings.shrink)[product] * powers(itself, -settings.partner)[target]
        rows = sparse.csr_matrix((value.astype(np.float32), (product, target)), shape=(len(itself), len(itself)))
        if settings.hop:
            short = strongest_per_row(rows, TWO_HOP)
            rows = (rows + settings.hop * short.dot(short)).tocsr()
            rows.setdiag(0)
            rows.eliminate_zeros()
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


def tune(search: Search[Settings]) -> Settings:
    best = search.best(Settings(), GRIDS, TRIALS["first"])
    return search.best(best, HOP_GRIDS, TRIALS["hops"])
