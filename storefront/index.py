"""The catalogue as this process holds it to find products: words, facets and sort keys, but no product.

Search and facets are set arithmetic over twenty thousand small numbers, so they need no database's full text and
cannot differ between SQLite and PostgreSQL. Products themselves are read from the database each time, so what a page
says of price and stock is never older than the page; what it counts may be two minutes old.
"""

import logging
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from threading import Lock, Thread
from typing import Any

from django.db import DatabaseError, connection
from django.utils.text import slugify

from storefront import words
from storefront.models import Product
from storefront.pace import Pace

log = logging.getLogger(__name__)

KEPT = 120  # seconds; after that it is read anew beside the requests, which go on with the old one
SHARE = 0.05  # of a core, at most, for reading it beside them: some ten seconds for twenty thousand products
TOO_OLD = 600  # seconds without a request: then the next one waits for a new one rather than see the old
PRICES = {  # a band's name in an address → what it is called, and the cents below which it ends
    "0-1": ("Under $1", 100),
    "1-2": ("$1 to $2", 200),
    "2-3": ("$2 to $3", 300),
    "3-5": ("$3 to $5", 500),
    "5-10": ("$5 to $10", 1_000),
    "10-20": ("$10 to $20", 2_000),
    "20": ("$20 and over", 10**12),
}

_BANDS, _ENDS = list(PRICES), [end for _, end in PRICES.values()]
Places = tuple[int, ...]  # products, by their place in Index.ids


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Of the visible products. A product's place is its rank by popularity, so places in order are a ranking."""

    made_from: int  # a digest of everything below in the database
    ids: list[str]
    values: dict[str, list[str]]  # facet → of each place its value, "" for none
    holders: dict[str, dict[str, Places]]  # facet → value → who has it
    keys: dict[str, list[int]]  # "price", "name", "new" → of each place its sort key
    labels: dict[str, str]  # a department's or category's value → what it is called
    about: dict[str, Places]  # word → who has it in name, brand, type, category or department
    named: dict[str, Places]  # word → who has it in the name
    starts: dict[str, Places]  # word → whose name starts with it, the brand put aside
    is_a: dict[str, Places]  # word → whose type ends with it, packs aside: "Chocolate Milk Bottle" is a milk
    written: dict[str, str]  # word → as the catalogue writes it


def current() -> Index:
    """The catalogue as it was at most two minutes ago, as long as somebody looks at it and the database answers."""
    kept, read_at = _kept
    age = time.monotonic() - read_at
    if kept is None or age > TOO_OLD:
        with _reading:
            newer, newer_at = _kept
            if newer is not None and newer_at != read_at:
                return newer  # read by another request meanwhile
            try:
                return _read(Pace())
            except DatabaseError:
                if kept is None:
                    raise
    elif age > KEPT and _reading.acquire(blocking=False):
        Thread(target=_read_beside, daemon=True).start()
    return kept


def refresh() -> None:
    """Read the catalogue anew at the next look, in this process."""
    global _kept
    _kept = (None, 0.0)


_kept: tuple[Index | None, float] = (None, 0.0)
_reading = Lock()


def _read(pace: Pace) -> Index:
    """Made anew only if something changed, which is a fifth of the work when nothing did."""
    global _kept
    kept, _ = _kept
    rows, made_from = _rows(pace)
    index = kept if kept and kept.made_from == made_from else _index(rows, made_from, pace)
    _kept = (index, time.monotonic())
    return index


def _read_beside() -> None:
    try:
        _read(Pace(SHARE))
    except DatabaseError:
        log.exception("The catalogue could not be read anew: the one of a while ago goes on")
    finally:
        _reading.release()
        connection.close()  # this thread's own


_COLUMNS = ("product_id", "name", "brand", "type", "category", "department", "price_cents", "created", "stock")
_PACKS = {
    "bag", "bottle", "box", "can", "canister", "carton", "jar", "multipack", "pack", "pail", "pint", "quart", "tub",
    "single",
}  # fmt: skip
_FACETS = ("department", "category", "type", "brand", "price", "stock")


def _rows(pace: Pace) -> tuple[list[tuple[Any, ...]], int]:
    """The columns of each product, in the order of places, and a digest of them: of stock only whether there is any."""
    query = Product.objects.visible().order_by("-popularity", "product_id").values_list(*_COLUMNS)
    rows, digest = [], 0
    for *told, stock in pace(query.iterator(chunk_size=500)):
        row = (*told, stock > 0)
        rows.append(row)
        digest = hash((digest, row))
    return rows, digest


def _index(rows: list[tuple[Any, ...]], made_from: int, pace: Pace) -> Index:
    ids, names, brands, types, categories, departments, prices, created, stocks = (
        [list(column) for column in pace(zip(*rows, strict=True))] if rows else [[] for _ in _COLUMNS]
    )
    slugs = {text: slugify(text) or "other" for text in {*departments, *categories}}
    shelves = [slugs[department] for department in departments]
    corners = [f"{shelf}/{slugs[category]}" for shelf, category in zip(shelves, categories, strict=True)]
    bands = [bisect(_ENDS, price) for price in prices]
    stocked = ["in" if any_ else "" for any_ in stocks]
    values = [shelves, corners, types, brands, [_BANDS[band] for band in bands], stocked]
    holders = {facet: _holders(pace(column)) for facet, column in zip(_FACETS, values, strict=True)}
    named = _holders_of_each(words.of(name) for name in pace(names))
    return Index(
        made_from=made_from,
        ids=ids,
        values=dict(zip(_FACETS, values, strict=True)),
        holders=holders,
        keys={"price": prices, "name": _ranks(names), "new": _ranks(created)},
        labels=dict(zip(shelves, departments, strict=True)) | dict(zip(corners, categories, strict=True)),
        about=_about(pace(named.items()), *map(_holders, (brands, types, categories, departments))),
        named=named,
        starts=_holders(_first(name.removeprefix(brand)) for name, brand in pace(zip(names, brands, strict=True))),
        is_a=_holders_of_each(_ends(type_) for type_ in pace(types)),
        written=_written(pace(chain(names, {*brands, *types, *categories, *departments}))),
    )


def _first(text: str) -> str:
    found = words.of(text)
    return found[0] if found else ""


def _ends(text: str) -> list[str]:
    """A type's last word, and the last one that is not what it is packed in."""
    found = words.of(text)
    unpacked = [word for word in found if word not in _PACKS and not word.isdigit()]
    return list(dict.fromkeys([*found[-1:], *unpacked[-1:]]))


def _about(named: Iterable[tuple[str, Places]], *fields: dict[str, Places]) -> dict[str, Places]:
    """Who has a word anywhere. A field's text is taken apart once, not once for each product that bears it."""
    found: dict[str, set[int]] = defaultdict(set)
    for word, places in named:
        found[word].update(places)
    for holders in fields:
        for text, places in holders.items():
            for word in words.of(text):
                found[word].update(places)
    return {word: tuple(sorted(places)) for word, places in found.items()}


def _written(texts: Iterable[str]) -> dict[str, str]:
    """Of each word its shortest spelling: mostly the singular."""
    found: dict[str, str] = {}
    for spelling in {spelling for text in texts for spelling in words.written_in(text)}:
        word, spelling = words.word(spelling), spelling.lower()
        if word not in found or (len(spelling), spelling) < (len(found[word]), found[word]):
            found[word] = spelling
    return found


def _holders_of_each(column: Iterable[list[str]]) -> dict[str, Places]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, values in enumerate(column):
        for value in values:
            found[value].append(place)
    return {value: tuple(places) for value, places in found.items()}


def _holders(column: Iterable[str]) -> dict[str, Places]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(column):
        if value:
            found[value].append(place)
    return {value: tuple(places) for value, places in found.items()}


def _ranks(column: list) -> list[int]:  # type: ignore[type-arg]
    """Of each place the rank of its value; equal values keep the order of places."""
    ranks = [0] * len(column)
    for rank, (place, _) in enumerate(sorted(enumerate(column), key=itemgetter(1))):
        ranks[place] = rank
    return ranks
