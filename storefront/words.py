"""Words as search compares them: lower case, without accents, apostrophes and a plural's ending."""

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

LONGEST = 32  # characters of a word; nobody means the rest
_WORD = re.compile(r"\d+\.\d+|[^\W_]+(?:['’][^\W_]+)*")
# "ies" and "ie" meet in "y", so that cookies find a cookie and berries a berry.
_ENDINGS = (
    ("ies", "y"), ("ie", "y"), ("oes", "o"), ("shes", "sh"), ("ches", "ch"), ("sses", "ss"), ("xes", "x"),
)  # fmt: skip


def of(text: str) -> list[str]:
    """Its words in their order, each once: ``Chef's Tomatoes`` → ``["chef", "tomato"]``."""
    return list(dict.fromkeys(map(word, _WORD.findall(text))))


def written_in(text: str) -> list[str]:
    """Its words as they stand there."""
    return _WORD.findall(text)


def marked(text: str, known: Collection[str], begun: str = "") -> SafeString:
    """The text as HTML, with <mark> around the words that are among ``known`` or begin with ``begun``."""
    parts, end = [], 0
    for match in _WORD.finditer(text):
        plain = word(match[0])
        if plain in known or (begun and plain.startswith(begun)):
            parts += [escape(text[end : match.start()]), "<mark>", escape(match[0]), "</mark>"]
            end = match.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - each part is escaped


@lru_cache(maxsize=20_000)
def word(written: str) -> str:
    plain = unicodedata.normalize("NFKD", written.casefold())
    return _stem("".join(part for part in plain if not unicodedata.combining(part) and part not in "'’")[:LONGEST])


def _stem(word: str) -> str:
    for ending, kept in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + kept
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")) else word
