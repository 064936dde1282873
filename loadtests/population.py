"""Who comes and what they look at, as the demo's own listing weighs it: products as often as they sold."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from urllib.request import urlopen


@dataclass(frozen=True)
class Weighted:
    """Names, drawn by weight."""

    names: Sequence[str]
    cumulated: Sequence[int]

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]], name: str) -> "Weighted":
        # Nothing has the weight 0: what never sold may still be looked at.
        return cls([row[name] for row in rows], list(accumulate(max(1, int(row["weight"])) for row in rows)))

    def draw(self, chance: random.Random) -> str:
        return chance.choices(self.names, cum_weights=self.cumulated)[0]


@dataclass(frozen=True)
class Population:
    shoppers: Weighted
    products: Weighted

    @classmethod
    def of(cls, host: str) -> "Population":
        """Ask the demo at ``host``. Raises OSError if it does not answer, ValueError if it has no shoppers to show."""
        with urlopen(f"{host}/demo/weights", timeout=30) as answer:
            weights = json.load(answer)
        if not weights["shoppers"] or not weights["products"]:
            raise ValueError(f"{host} knows no shoppers or no products")
        return cls(Weighted.of(weights["shoppers"], "shopper"), Weighted.of(weights["products"], "product_id"))
