"""Search: products that have all the words, in their name, brand, type or category.

The same plain SQL on SQLite and PostgreSQL. What SQL cannot do there, this process does with the catalogue's own
vocabulary: find "jalapeño" by "jalapeno", and "tomato" by "tomatoe". That vocabulary is a few thousand words.
"""

import re
import time
import unicodedata
from difflib import get_close_matches
from functools import lru_cache

from django.db.models import Case, IntegerField, Q, Value, When

from storefront.models import Product, ProductQuerySet

FIELDS = ("name", "brand", "type", "category")
MOST_WORDS = 8
LONGEST_WORD = 32
KEPT = 300  # seconds that a process keeps the vocabulary: reading it takes a tenth of one
_WORD = re.compile(r"[^\W_]+(?:['&.-][^\W_]+)*")
_ALIKE = 0.75  # difflib's ratio: one letter wrong in four, two in seven


def find(query: str) -> ProductQuerySet:
    """Visible products with every word of the query: those named so first, then by popularity."""
    words = _words(query)
    if not words:
        return Product.objects.none()
    spelt = [_spellings(word) for word in words]
    found = Product.objects.visible()
    for spellings in spelt:
        found = found.filter(_any_of(FIELDS, spellings))
    in_name = Q()
    for spellings in spelt:
        in_name &= _any_of(("name",), spellings)
    starts_name = Q()
    for spelling in spelt[0]:
        starts_name |= Q(name__istartswith=spelling)
    rank = Case(
        When(in_name & starts_name, then=Value(0)),
        When(in_name, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return found.order_by(rank, "-popularity", "product_id")


def _words(query: str) -> list[str]:
    found = (_plain(word)[:LONGEST_WORD] for word in _WORD.findall(query[:1_000]))
    return list(dict.fromkeys(_stem(word) for word in found))[:MOST_WORDS]


def _any_of(fields: tuple[str, ...], spellings: list[str]) -> Q:
    condition = Q()
    for spelling in spellings:
        for field in fields:
            condition |= Q(**{f"{field}__icontains": spelling})
    return condition


def _plain(text: str) -> str:
    """Lower case without accents."""
    return "".join(part for part in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(part))


def _stem(word: str) -> str:
    """Without a plural's ending, so that "tomatoes" finds a tomato and "berries" a berry."""
    for ending, kept in (("ies", ""), ("oes", "o"), ("shes", "sh"), ("ches", "ch"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + kept
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _spellings(word: str) -> list[str]:
    """How the catalogue may write the word: as asked, with its accents, or the closest words that it knows."""
    known = _vocabulary(int(time.monotonic() // KEPT))
    accented = {spelling for plain, spelling in known.items() if word in plain and word not in spelling.casefold()}
    if accented or any(word in plain for plain in known):
        return [word, *sorted(accented)]
    return [known[close] for close in get_close_matches(word, known, n=3, cutoff=_ALIKE)] or [word]


@lru_cache(maxsize=1)
def _vocabulary(period: int) -> dict[str, str]:
    """Every word of the visible catalogue, plain → as it is written."""
    texts = {text for row in Product.objects.visible().values_list(*FIELDS).iterator() for text in row}
    return {_plain(word): word for text in texts for word in _WORD.findall(text)}


def refresh() -> None:
    """Read the vocabulary anew at the next search, in this process."""
    _vocabulary.cache_clear()
