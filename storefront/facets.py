"""Facets: what a listing can be narrowed to, with counts that are true under everything else that is chosen.

Values of one facet are alternatives (any of these brands), facets together are conditions (and at most five dollars).
So a value's count leaves out its own facet's choice: it says what choosing it, too, would show.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.http import QueryDict

from storefront.index import PRICES, Index

TITLES = {
    "department": "Department",
    "category": "Category",
    "type": "Type",
    "brand": "Brand",
    "price": "Price",
    "stock": "Availability",
}
FIRST = 8  # values in sight; the rest is behind "more"
MOST = 60  # values of a facet; who seeks the hundredth brand searches for it
MOST_CHOSEN = 20  # values of one facet in an address


@dataclass(frozen=True, slots=True)
class Value:
    facet: str
    name: str  # as in the address
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    name: str
    title: str
    first: list[Value]
    more: list[Value]

    @property
    def is_open(self) -> bool:
        """Whether what is behind "more" must be in sight."""
        return any(value.chosen for value in self.more)

    @property
    def offers_a_choice(self) -> bool:
        return len(self.first) > 1 or any(value.chosen or self.name == "stock" for value in self.first)


class Narrowing:
    """A listing's products and what the address says to narrow them to. What it does not know is left aside."""

    def __init__(self, index: Index, base: Sequence[int], facets: Iterable[str], query: QueryDict) -> None:
        """``base``: places in the order to keep. ``facets``: those that this listing offers."""
        self.index = index
        self.base = base
        self.chosen = {
            facet: [
                value for value in dict.fromkeys(query.getlist(facet)[:MOST_CHOSEN]) if value in index.holders[facet]
            ]
            for facet in facets
        }

    def kept(self, besides: str = "") -> list[int]:
        """Places that pass every choice, or every one ``besides`` one facet's."""
        kept: set[int] | None = None
        for facet, values in self.chosen.items():
            if values and facet != besides:
                any_of_them = {place for value in values for place in self.index.holders[facet][value]}
                kept = any_of_them if kept is None else kept & any_of_them
        return list(self.base) if kept is None else [place for place in self.base if place in kept]

    def facets(self, kept: Sequence[int]) -> list[Facet]:
        """Those that still offer a choice. ``kept`` is what ``kept()`` returned."""
        found = [self._facet(facet, kept if not values else self.kept(facet)) for facet, values in self.chosen.items()]
        return [facet for facet in found if facet.offers_a_choice]

    def chips(self) -> list[Value]:
        """What is chosen, to be taken back."""
        return [
            Value(facet, value, self._label(facet, value), 0, True)
            for facet, values in self.chosen.items()
            for value in values
        ]

    def pairs(self, without: Value | None = None) -> list[tuple[str, str]]:
        """The choices as parameters of an address."""
        return [
            (facet, value)
            for facet, values in self.chosen.items()
            for value in values
            if without is None or (facet, value) != (without.facet, without.name)
        ]

    def _facet(self, facet: str, places: Sequence[int]) -> Facet:
        column, chosen = self.index.values[facet], self.chosen[facet]
        counts = Counter([column[place] for place in places])
        by_count = sorted(counts, key=lambda name: (-counts[name], name))
        names = dict.fromkeys([*by_count, *chosen])
        values = [Value(facet, name, self._label(facet, name), counts[name], name in chosen) for name in names if name]
        if facet == "price":
            values.sort(key=lambda value: list(PRICES).index(value.name))
        more = [value for number, value in enumerate(values[FIRST:], start=FIRST) if number < MOST or value.chosen]
        return Facet(facet, TITLES[facet], values[:FIRST], more)

    def _label(self, facet: str, value: str) -> str:
        if facet == "price":
            return PRICES[value][0]
        if facet == "stock":
            return "In stock"
        return self.index.labels[value] if facet in ("department", "category") else value
