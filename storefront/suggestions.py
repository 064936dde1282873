"""What the search box offers while somebody types: shelves, kinds of product, and a few products."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from storefront import index as catalogue
from storefront import menu, search, synonyms, words
from storefront.index import Index
from storefront.models import Product

SHELVES, KINDS, PRODUCTS = 2, 5, 3  # at most of each


@dataclass(frozen=True, slots=True)
class Suggestions:
    kinds: list[str]
    shelves: list[menu.Category]
    products: list[Product]
    matched: frozenset[str]  # words to mark
    begun: str  # the word that is being typed


def suggest(typed: str) -> Suggestions:
    """For the beginning of a query. One query to the database, for the products."""
    index, said = catalogue.current(), search.asked(typed)
    if not said:
        return Suggestions([], [], [], frozenset(), "")
    found = search.find(typed)
    wordings = [words.of(found.corrected)] if found.corrected else synonyms.wordings(said, index.about.keys())
    known, begun = (found.matched, "") if found.corrected else (frozenset(chain(*wordings)), said[-1])
    kinds = [found.corrected] if found.corrected else []
    kinds += [kind for kind in _best(_kinds(index), wordings) if kind.lower() not in kinds]
    corners = _best(_corners(index), wordings)[:SHELVES]
    shelves = [menu.departments()[value.partition("/")[0]].categories[value.partition("/")[2]] for value in corners]
    ids = [index.ids[place] for place in found.ranked[:PRODUCTS]]
    return Suggestions(kinds[:KINDS], shelves, Product.objects.visible().in_order(ids), known, begun)


Named = tuple[str, tuple[str, ...], int]  # value, its words, how many products


def _best(candidates: list[Named], wordings: Iterable[list[str]]) -> list[str]:
    """Those that fit the query, then those that fit it in other words."""
    return list(dict.fromkeys(chain(*(_fitting(candidates, asked) for asked in wordings))))


def _fitting(candidates: list[Named], asked: list[str]) -> list[str]:
    """Those with every word, the last one perhaps only begun; first those that begin with the first word."""
    whole, begun = set(asked[:-1]), asked[-1]
    fitting = [
        (not own[0].startswith(asked[0]), -count, value)
        for value, own, count in candidates
        if whole.issubset(own) and any(word.startswith(begun) for word in own)
    ]
    return [value for _, _, value in sorted(fitting)]


@lru_cache(maxsize=1)
def _kinds(index: Index) -> list[Named]:
    return [
        (text, tuple(own), len(places)) for text, places in index.holders["type"].items() if (own := words.of(text))
    ]


@lru_cache(maxsize=1)
def _corners(index: Index) -> list[Named]:
    return [
        (value, tuple(own), len(places))
        for value, places in index.holders["category"].items()
        if (own := words.of(index.labels[value]))
    ]
