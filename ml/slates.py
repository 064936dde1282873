"""What each slate is made of: one table, kept in every artefact's manifest, so that tuning changes a model, not code.

A slate's score of a product is a weighted sum of rows of the history's products, so every score can be taken apart.
The weight of one history product under a term is

    weight x sign(x) |x| ** power       x = sum over its kinds of kinds[kind] x count x e ** (-age / days)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ml.contract import KINDS, Kind, SlateName

KIND_NAMES: tuple[Kind, ...] = tuple(sorted(KINDS))  # type: ignore[arg-type]  # a kind's code is its place here
SLATE_NAMES: tuple[SlateName, ...] = get_args(SlateName)
KIND_CODE = {name: code for code, name in enumerate(KIND_NAMES)}

# The row-sets that ml.learn makes; a term names one.
HOUSEHOLDS = "households"  # ridge over whole households: what one who buys this also comes to buy
BASKETS = "baskets"  # ridge over baskets: what completes a basket
PAIRS = "pairs"  # tuned co-occurrence over baskets: what goes with this one product
SIMILAR = "similar"  # the catalogue's words: what could stand in its place
ITSELF = "itself"  # the product alone: the shopper's own habit
REBOUGHT = "rebought"  # the same, weighed by how often its buyers come back for it
ROW_SETS = (HOUSEHOLDS, BASKETS, PAIRS, SIMILAR, ITSELF, REBOUGHT)


@dataclass(frozen=True, slots=True)
class Term:
    rows: str
    kinds: Mapping[Kind, float]
    weight: float = 1.0
    days: float = 3650.0
    power: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """``hides``: history products of these kinds never appear. ``filled``: a short list is filled by popularity."""

    terms: tuple[Term, ...]
    hides: tuple[Kind, ...]
    filled: bool = False


TASTE: Mapping[Kind, float] = {"purchase": 1.0, "cart": 0.5, "view": 0.25, "dismiss": -1.0}
QUESTION: Mapping[Kind, float] = {"purchase": 1.0, "cart": 1.0, "view": 1.0}
# Five hundred old purchases must not outweigh one product in the cart; without a cart they still choose.
CART: Mapping[Kind, float] = {"cart": 1.0, "purchase": 1e-4, "view": 1e-4}
HABIT: Mapping[Kind, float] = {"purchase": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """What a training job may set of the slates; the rest of them is the table below."""

    taste_days: float = 90.0  # in which what a household bought fades to 1/e, when new products are chosen by it
    habit_days: float = 120.0  # in which a habit fades to 1/e
    pairs_share: float = 0.5  # of what goes with each product of a cart, beside 1 for what completes baskets
    habit_share: float = 0.07  # of the shopper's habit beside them


def slates(blend: Blend) -> Mapping[SlateName, Recipe]:
    habit = blend.habit_days
    return {
        # Something new: what households alike came to buy. An old purchase fades, a thousand purchases count as ten.
        "for_you": Recipe(
            (Term(HOUSEHOLDS, TASTE, days=blend.taste_days, power=1 / 3),), hides=("purchase", "dismiss"), filled=True
        ),
        "again": Recipe((Term(REBOUGHT, HABIT, days=habit),), hides=("dismiss",)),
        "together": Recipe((Term(PAIRS, QUESTION),), hides=("view", "cart", "purchase", "dismiss")),
        "similar": Recipe((Term(SIMILAR, QUESTION),), hides=("view", "cart", "purchase", "dismiss")),
        # The habit shows only where repeats are asked for, since a slate hides purchases otherwise.
        "complete": Recipe(
            (
                Term(BASKETS, CART),
                Term(PAIRS, CART, weight=blend.pairs_share),
                Term(ITSELF, HABIT, weight=blend.habit_share, days=habit, power=0.5),
            ),
            hides=("cart", "purchase", "dismiss"),
            filled=True,
        ),
        "popular": Recipe((), hides=("dismiss",), filled=True),
    }


SLATES = slates(Blend())
# Their point is products that the shopper has bought; elsewhere a purchase hides its product unless repeats are wanted.
SHOWN_REPEATS: frozenset[SlateName] = frozenset({"again", "popular"})
