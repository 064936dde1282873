"""What the search box offers while somebody types: shelves, kinds of product, and a few products."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from storefront import index as catalogue
from storefront import menu, search, words
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
    index = catalogue.current()
    begun_words = words.of(typed[: search.LONGEST])
    if not begun_words:
        return Suggestions([], [], [], frozenset(), "")
    found = search.find(typed)
    known = found.matched if found.corrected else frozenset(begun_words)
    begun = "" if found.corrected else begun_words[-1]
    asked = words.of(found.corrected) if found.corrected else begun_words
    kinds = [found.corrected] if found.corrected else []
    kinds += [kind for kind in _best(_kinds(index), asked) if kind.lower() not in kinds]
    corners = _best(_corners(index), asked)[:SHELVES]
    shelves = [menu.departments()[value.partition("/")[0]].categories[value.partition("/")[2]] for value in corners]
    ids = [index.ids[place] for place in found.ranked[:PRODUCTS]]
    return Suggestions(kinds[:KINDS], shelves, Product.objects.visible().in_order(ids), known, begun)


Named = tuple[str, tuple[str, ...], int]  # value, its words, how many products


def _best(candidates: Iterable[Named], asked: list[str]) -> list[str]:
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
