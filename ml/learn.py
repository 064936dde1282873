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
from ml.data import Catalogue, Export, Interactions
from ml.model import Model
from ml.questions import stacked
from ml.slates import BASKETS, HOUSEHOLDS, ITSELF, KIND_NAMES, PAIRS, ROW_SETS, SIMILAR, SLATES, TASTE

NEIGHBOURS = 200  # the longest row: beyond it accuracy stands still and latency does not
POPULAR_DAYS = 28.0  # popularity forgets as e ** (-age / days)
LENDERS = 10
# Chosen with a tenth of the products held out entirely: at half, what others had bought lost a fiftieth of its recall.
INTRODUCERS, NEWCOMERS_SHARE = 30, 0.25


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a training job may set. The defaults come from earlier experiments on the Complete Journey."""

    candidates: int = 100  # K of the local ridge
    damping: float = 0.5  # how far a candidate's own frequency counts against it
    household_penalty: float = 3.0
    trend: float = 0.75  # exponent in favour of products whose share of the sales has grown of late
    basket_penalty: float = 20.0
    pair_history: float = 0.7  # exponents of the tuned co-occurrence
    pair_candidate: float = 0.3
    length_exponent: float = -0.5  # weight of a basket or household by its number of products


@dataclass(frozen=True, slots=True)
class Fitted:
    """What one way of holding products together gives; its size is the catalogue's, not the events'."""

    rows: Matrix
    near: Neighbours
    itself: NDArray[np.float64]  # each product's co-occurrence with itself


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

    def learn(self, settings: Hyperparameters, version: str) -> Model:
        households, baskets = self.fit(settings)
        sold = np.bincount(self._seen.product, self._liking, minlength=len(self._catalogue)).astype(np.float64)
        return assembled(self._catalogue, self._popularity, sold, households, baskets, settings, version)

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


def assembled(
    catalogue: Catalogue,
    popularity: NDArray[np.float64],
    sold: NDArray[np.float64],
    households: Fitted,
    baskets: Fitted,
    settings: Hyperparameters,
    version: str,
) -> Model:
    """Every row-set of a model out of what was fitted, here or on Spark. Products are numbered by popularity."""
    alike = content.resemblance(catalogue, NEIGHBOURS)
    rising = sparse.diags(trend(popularity, sold) ** settings.trend)
    sets: dict[str, Matrix] = {
        HOUSEHOLDS: content.introduce(households.rows.dot(rising), alike, sold == 0, INTRODUCERS, NEWCOMERS_SHARE),
        BASKETS: baskets.rows,
        PAIRS: similarity(baskets.near, baskets.itself, settings.pair_history, settings.pair_candidate),
    }
    sets = {name: strongest_per_row(content.lend(rows, alike, LENDERS), NEIGHBOURS) for name, rows in sets.items()}
    bought = similarity(households.near, households.itself, own=0.5, partner=0.5)
    sets[SIMILAR] = content.substitutes(alike, bought, boost=2.0, count=NEIGHBOURS // 2)
    sets[ITSELF] = sparse.identity(len(catalogue), dtype=np.float32, format="csr")
    return Model(
        version=version,
        product_ids=catalogue.product_id,
        names=catalogue.name,
        category=catalogue.category,
        popularity=popularity,
        row_sets=ROW_SETS,
        rows=stacked([sets[name] for name in ROW_SETS]),
        slates=SLATES,
    )


def trend(popularity: NDArray[np.float64], sold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each product's share of the latest sales over its share of all; what is hardly ever sold has no trend."""
    least = 1e-6
    lately, ever = (values / max(values.sum(), least) + least for values in (popularity, sold))
    return np.asarray(lately / ever)


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
