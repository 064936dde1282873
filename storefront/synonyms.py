"""A query in other words, by the table ``synonyms.txt``: ``crisps`` are potato chips too."""

from collections.abc import Collection, Sequence
from functools import cache
from itertools import chain, islice, product
from pathlib import Path

from storefront import words

MOST = 6  # wordings of a query; its own stands first
_BEGUN = 4  # letters from which a word may be the beginning of one of the table's
_FILE = Path(__file__).with_suffix(".txt")

Phrase = tuple[str, ...]  # words as search compares them


def wordings(asked: Sequence[str], known: Collection[str]) -> list[list[str]]:
    """The words asked for, then the same in other words, as far as these are ``known`` to the catalogue.

    A phrase that the catalogue does not know gives way to those that it knows: nobody is told that coke might be cake.
    """
    choices: list[list[Phrase]] = []
    rest = tuple(asked)
    while rest:
        said, meant = _begins(rest, known)
        options = [phrase for phrase in dict.fromkeys((said, *meant)) if all(word in known for word in phrase)]
        choices.append(options or [said])
        rest = rest[len(said) :]
    return [list(dict.fromkeys(chain(*chosen))) for chosen in islice(product(*choices), MOST)]


def _begins(asked: Phrase, known: Collection[str]) -> tuple[Phrase, Sequence[Phrase]]:
    """The longest phrase of the table that these words begin with, or else their first word, and what it means."""
    table, first = _table(), asked[0]
    for length in range(min(len(asked), max(map(len, table))), 0, -1):
        if asked[:length] in table:
            return asked[:length], table[asked[:length]]
    if len(asked) == 1 and len(first) >= _BEGUN and not any(word.startswith(first) for word in known):
        begun = (meant for (word, *more), meant in table.items() if not more and word.startswith(first))
        return (first,), next(begun, ())
    return (first,), ()


@cache
def _table() -> dict[Phrase, tuple[Phrase, ...]]:
    """What each phrase of the file means."""
    table: dict[Phrase, tuple[Phrase, ...]] = {}
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        found, _, asked = line.partition("#")[0].partition(":")
        meant = tuple(map(_phrase, found.split(",")))
        table |= dict.fromkeys((*meant, *map(_phrase, asked.split(","))), meant)
    table.pop((), None)
    return table


def _phrase(text: str) -> Phrase:
    return tuple(words.of(text))
