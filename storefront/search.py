"""Search: products that have all the words, in their name, brand, type, category or department.

A word that the catalogue does not know is read as the beginning or the middle of one that it knows, as two words
written together, and last as a misspelling of the nearest one (Damerau's distance, by rapidfuzz). What bears
other words for the same thing is found too, after what bears these.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from storefront import index as catalogue
from storefront import synonyms, words
from storefront.index import Index

MOST_WORDS = 8
LONGEST = 100  # characters of a query; nobody means the rest
# Of "salt and vinegar" and "jar of olives" only the others count: a name has "&" there, or nothing.
_FILLERS = frozenset(("a", "an", "and", "for", "in", "of", "or", "the", "with"))
_SHORT = 4  # letters up to which a word forgives one mistake; a longer one forgives two
_BEGUN = 2  # letters from which a word may be the beginning of another
_INSIDE = 4  # letters from which it may be its middle


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found: places of the index, best first."""

    ranked: list[int]
    corrected: str = ""  # the query as it was understood, if that is not as it was written
    matched: frozenset[str] = frozenset()  # the catalogue's words that were looked for: those to mark
    also: tuple[str, ...] = ()  # the other words that it was understood in


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one word of a query is understood: products with any of these words, or with all of them."""

    asked: str
    options: tuple[str, ...]
    all_of_them: bool = False
    instead: str = ""  # what to say that was looked for, if it is not what was asked for


def asked(query: str) -> list[str]:
    """The words of a query that count."""
    every = words.of(query[:LONGEST])
    return ([word for word in every if word not in _FILLERS] or every)[:MOST_WORDS]


def find(query: str, exact: bool = False) -> Found:
    """Products with every word: first what is called so, then by popularity; then the same for each other wording.

    ``exact``: no spelling is corrected, and the words are taken as they are.
    """
    index, said = catalogue.current(), asked(query)
    if not said:
        return Found([])
    wordings = [said] if exact else synonyms.wordings(said, index.about.keys())
    read = [[_read(index, word, exact) for word in wording] for wording in wordings]
    ranked = [_ranked(index, readings) for readings in read]
    corrected = any(reading.instead for reading in read[0]) and bool(ranked[0])
    return Found(
        ranked=list(dict.fromkeys(chain(*ranked))),
        corrected=_in_words(index, query, read[0]) if corrected else "",
        matched=_matched(chain(*read)),
        also=tuple(
            " ".join(index.written.get(word, word) for word in wording)
            for wording, places in zip(wordings, ranked, strict=True)
            if places and wording != said
        ),
    )


def _ranked(index: Index, readings: list[_Reading]) -> list[int]:
    about = _all(index.about, readings)
    named = about & _all(index.named, readings)
    is_it = named & _any(index.is_a, readings[-1].options)
    starts = named & _any(index.starts, readings[0].options)
    tiers = is_it, starts - is_it, named - is_it - starts, about - named
    return [place for tier in tiers for place in sorted(tier)]


def nearest(query: str, most: int = 3) -> list[str]:
    """Words of the catalogue that resemble one of the query's, for when nothing was found."""
    index = catalogue.current()
    close: dict[str, float] = {}
    for word in asked(query):
        if word in index.about:
            continue
        for other, score, _ in process.extract(word, index.written.keys(), scorer=fuzz.ratio, score_cutoff=66, limit=8):
            close[other] = max(score, close.get(other, 0))
    best = sorted((word for word in close if not word.isdigit()), key=lambda word: -close[word])
    return [index.written[word] for word in best[:most]]


def alone(query: str) -> list[tuple[str, int]]:
    """Each word of a query that finds nothing as a whole, with how many products it finds by itself."""
    index = catalogue.current()
    said = asked(query)
    counts = [(index.written.get(word, word), len(index.about.get(word, ()))) for word in said]
    return [(word, count) for word, count in counts if count and len(said) > 1]


def _read(index: Index, word: str, exact: bool) -> _Reading:
    if word in index.about or exact:
        return _Reading(word, (word,))
    if len(word) >= _BEGUN and (longer := [known for known in index.about if known.startswith(word)]):
        return _Reading(word, tuple(longer))
    if len(word) >= _INSIDE and (around := [known for known in index.about if word in known]):
        return _Reading(word, tuple(around))
    return _apart(index, word) or _corrected(index, word) or _Reading(word, (word,))


def _apart(index: Index, word: str) -> _Reading | None:
    """Two words written as one: ``icecream``."""
    for cut in range(2, len(word) - 1):
        left, right = word[:cut], word[cut:]
        if left in index.named and right in index.named and set(index.named[left]) & set(index.named[right]):
            return _Reading(word, (left, right), True, f"{index.written[left]} {index.written[right]}")
    return None


def _corrected(index: Index, word: str) -> _Reading | None:
    """The nearest word: of those at the same distance one with the same first letter, and the most common of them."""
    if len(word) < 3 or word.isdigit():
        return None
    mistakes = 1 if len(word) <= _SHORT else 2
    close = process.extract(word, index.written.keys(), scorer=OSA.distance, score_cutoff=mistakes, limit=None)
    if not close:
        return None
    best, *_ = min(close, key=lambda entry: (entry[1], entry[0][0] != word[0], -len(index.about[entry[0]])))
    return _Reading(word, (best,), instead=index.written[best])


def _any(places: dict[str, catalogue.Places], options: Iterable[str]) -> set[int]:
    return set().union(*(places.get(word, ()) for word in options))


def _all(places: dict[str, catalogue.Places], readings: Iterable[_Reading]) -> set[int]:
    found: set[int] | None = None
    for reading in readings:
        groups = [(word,) for word in reading.options] if reading.all_of_them else [reading.options]
        for options in groups:
            these = _any(places, options)
            found = these if found is None else found & these
    return found or set()


def _matched(readings: Iterable[_Reading]) -> frozenset[str]:
    return frozenset(word for reading in readings for word in reading.options)


def _in_words(index: Index, query: str, readings: list[_Reading]) -> str:
    """The query with its corrections; the words that needed none as they were written."""
    written = {words.word(spelling): spelling for spelling in reversed(words.written_in(query[:LONGEST]))}
    return " ".join(
        reading.instead or written.get(reading.asked) or index.written.get(reading.asked, reading.asked)
        for reading in readings
    )
