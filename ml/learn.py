"""From interactions to a model: every row-set in closed form, on all cores."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml import content, ridge
from ml.blocks import Fill, on_all_cores
from ml.cooccurrence import (
    Matrix,
    Neighbours,
    diagonal,
    holding,
    length_damped,
    similarity,
    strongest,
    strongest_per_row,
)
from ml.data import PURCHASE, Catalogue, Export, Interactions
from ml.model import Model
from ml.questions import stacked
from ml.slates import (
    BASKETS,
    HOUSEHOLDS,
    ITSELF,
    KIND_NAMES,
    PAIRS,
    REBOUGHT,
    ROW_SETS,
    SIMILAR,
    TASTE,
    Blend,
    slates,
)

NEIGHBOURS = 200  # the longest row: beyond it accuracy stands still and latency does not
POPULAR_DAYS = 28.0  # popularity forgets as e ** (-age / days)
SMOOTHING = 5.0  # purchases of the average product, so that a few do not tell a habit
LENDERS = 10
# Chosen with a tenth of the products held out entirely: at half, what others had bought lost a fiftieth of its recall.
INTRODUCERS, NEWCOMERS_SHARE = 30, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters(Blend):
    """What a training job may set. The defaults come from earlier experiments on the Complete Journey."""

    candidates: int = 100  # K of the local ridge
    damping: float = 0.5  # how far a candidate's own frequency counts against it
    household_penalty: float = 3.0
    trend: float = 0.75  # exponent in favour of products whose share of the sales has grown of late
    basket_penalty: float = 20.0
    pair_history: float = 0.7  # exponents of the tuned co-occurrence
    pair_candidate: float = 0.3
    length_exponent: float = -0.5  # weight of a basket or household by its number of products
    rebuying: float = 0.5  # exponent in favour of products that their buyers come back for


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What one way of holding products together gives; its size is the catalogue's, not the events'."""

    rows: Matrix
    near: Neighbours
    itself: NDArray[np.float64]  # each product's co-occurrence with itself


@dataclass(frozen=True, slots=True)
class Sales:
    """What was sold of each product."""

    popularity: NDArray[np.float64]  # of late, 1 for the most popular
    sold: NDArray[np.float64]  # events, as TASTE weighs their kinds
    purchases: NDArray[np.float64]
    buyers: NDArray[np.float64]  # shoppers who purchased it


class Assembler:
    """Makes models of what was fitted, here or on Spark; what two of them share is made once.

    Products are numbered by popularity.
    """

    def __init__(self, catalogue: Catalogue, sales: Sales) -> None:
        self._catalogue, self._sales = catalogue, sales
        self._alike = content.resemblance(catalogue, NEIGHBOURS)
        self._baskets = lru_cache(1)(self._of_baskets)
        self._pairs = lru_cache(1)(self._of_pairs)
        self._similar = lru_cache(1)(self._of_similar)

    def model(self, households: Fitted, baskets: Fitted, settings: Hyperparameters, version: str) -> Model:
        catalogue, sales = self._catalogue, self._sales
        sets: dict[str, Matrix] = {
            HOUSEHOLDS: self._of_households(households, settings.trend),
            BASKETS: self._baskets(baskets),
            PAIRS: self._pairs(baskets, settings.pair_history, settings.pair_candidate),
            SIMILAR: self._similar(households),
            ITSELF: sparse.identity(len(catalogue), dtype=np.float32, format="csr"),
            REBOUGHT: sparse.diags((rebought(sales) ** settings.rebuying).astype(np.float32), format="csr"),
        }
        return Model(
            version=version,
            product_ids=catalogue.product_id,
            names=catalogue.name,
            category=catalogue.category,
            popularity=sales.popularity,
            row_sets=ROW_SETS,
            rows=stacked([sets[name] for name in ROW_SETS]),
            slates=slates(settings),
        )

    def _of_households(self, households: Fitted, exponent: float) -> Matrix:
        rising = sparse.diags(trend(self._sales) ** exponent)
        new = self._sales.sold == 0
        rows = content.introduce(households.rows.dot(rising), self._alike, new, INTRODUCERS, NEWCOMERS_SHARE)
        return self._lent(rows)

    def _of_baskets(self, baskets: Fitted) -> Matrix:
        return self._lent(baskets.rows)

    def _of_pairs(self, baskets: Fitted, history: float, candidate: float) -> Matrix:
        return self._lent(similarity(baskets.near, baskets.itself, history, candidate))

    def _of_similar(self, households: Fitted) -> Matrix:
        bought = similarity(households.near, households.itself, own=0.5, partner=0.5)
        return content.substitutes(self._alike, bought, boost=2.0, count=NEIGHBOURS // 2)

    def _lent(self, rows: Matrix) -> Matrix:
        return strongest_per_row(content.lend(rows, self._alike, LENDERS), NEIGHBOURS)


class Learner:
    """Fits one export with whatever settings; what two settings share is made once."""

    def __init__(self, export: Export, fill: Fill = on_all_cores) -> None:
        self._fill = fill
        export, self._popularity = _by_popularity(export)
        self._catalogue, self._seen = export.catalogue, export.interactions
        self._liking = np.array([max(TASTE[kind], 0.0) for kind in KIND_NAMES])[self._seen.kind]
        self._households = lru_cache(1)(self._held_by_households)
        self._baskets = lru_cache(1)(self._held_by_baskets)
        self._by_household = lru_cache(1)(self._fitted_to_households)
        self._by_basket = lru_cache(1)(self._fitted_to_baskets)
        self._assembler = lru_cache(1)(self._made_assembler)

    def learn(self, settings: Hyperparameters, version: str) -> Model:
        households, baskets = self.fit(settings)
        return self._assembler().model(households, baskets, settings, version)

    def _made_assembler(self) -> Assembler:
        seen, many = self._seen, len(self._catalogue)
        purchases = seen.where(seen.kind == PURCHASE)
        buyings = np.unique(purchases.shopper.astype(np.int64) * many + purchases.product)
        sold, bought, buyers = (
            np.bincount(product, weight, minlength=many).astype(np.float64)
            for product, weight in ((seen.product, self._liking), (purchases.product, None), (buyings % many, None))
        )
        return Assembler(self._catalogue, Sales(self._popularity, sold, bought, buyers))

    def fit(self, settings: Hyperparameters) -> tuple[Fitted, Fitted]:
        """What takes long: all that hosts share. By household and by basket."""
        near = settings.length_exponent, settings.damping, settings.candidates
        return self._by_household(*near, settings.household_penalty), self._by_basket(*near, settings.basket_penalty)

    def _fitted_to_households(self, exponent: float, damping: float, candidates: int, penalty: float) -> Fitted:
        held, near = self._households(exponent, damping, candidates)
        return Fitted(ridge.fit(held, near, penalty, self._fill), near, diagonal(held))

    def _fitted_to_baskets(self, exponent: float, damping: float, candidates: int, penalty: float) -> Fitted:
        held, near = self._baskets(exponent, damping)
        return Fitted(ridge.fit(held, near.first(candidates), penalty, self._fill), near, diagonal(held))

    def _held_by_households(self, exponent: float, damping: float, candidates: int) -> tuple[Matrix, Neighbours]:
        held = holding(self._seen.shopper, self._seen.product, self._liking, len(self._catalogue))
        held.data = np.sqrt(held.data)
        held = length_damped(held, exponent)
        return held, strongest(held, damping, candidates, self._fill)

    def _held_by_baskets(self, exponent: float, damping: float) -> tuple[Matrix, Neighbours]:
        held = holding(self._seen.basket, self._seen.product, self._liking, len(self._catalogue))
        held.data = np.minimum(held.data, 1.0)
        held = length_damped(held, exponent)
        return held, strongest(held, damping, NEIGHBOURS, self._fill)


def learn(export: Export, settings: Hyperparameters, version: str, fill: Fill = on_all_cores) -> Model:
    """Fit everything on all of ``export``."""
    return Learner(export, fill).learn(settings, version)


def trend(sales: Sales) -> NDArray[np.float64]:
    """Each product's share of the latest sales over its share of all; what is hardly ever sold has no trend."""
    least = 1e-6
    lately, ever = (values / max(values.sum(), least) + least for values in (sales.popularity, sales.sold))
    return np.asarray(lately / ever)


def rebought(sales: Sales) -> NDArray[np.float64]:
    """The share of each product's purchases that were not their buyer's first, over the share of all purchases.

    Smoothed by a few purchases of the average product; 1 for all where nobody has bought anything twice.
    """
    again = sales.purchases - sales.buyers
    average = again.sum() / max(sales.purchases.sum(), 1.0)
    if not average:
        return np.ones(len(again))
    return np.asarray((again / average + SMOOTHING) / (sales.purchases + SMOOTHING))


def _by_popularity(export: Export) -> tuple[Export, NDArray[np.float64]]:
    """Number the products by time-decayed popularity, the order that ml.kernel counts on, and give it scaled to 1."""
    seen, catalogue = export.interactions, export.catalogue
    liking = np.array([max(TASTE[kind], 0.0) for kind in KIND_NAMES])[seen.kind]
    worth = liking * np.exp((seen.day - seen.day[-1]) / POPULAR_DAYS)
    popularity = np.bincount(seen.product, worth, minlength=len(catalogue))
    order = np.argsort(-popularity, kind="stable")
    number = np.empty(len(order), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    renumbered = Catalogue(*([getattr(catalogue, column)[code] for code in order] for column in Catalogue.__slots__))
    interactions = Interactions(seen.shopper, seen.basket, number[seen.product], seen.kind, seen.day)
    return Export(renumbered, interactions, export.unknown), np.round(
        popularity[order] / max(popularity.max(), 1e-12), 6
    )
