"""How a shop's data comes in: products.csv and events.csv, with the columns of ``ml.contract``, all or nothing.

Both files are checked to the last line before the first row is written, and all rows are written in one
transaction. Whoever appears in events.csv gets an account that nobody can sign in to, named after the shop's own key:
without it, no one could ever find that history again, to show it or to delete it. In the demo those accounts are
the demo shoppers.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection, transaction

from ml.contract import EVENT_COLUMNS, KINDS, MAX_TEXT, PRODUCT_COLUMNS
from recommender import events, privacy
from storefront.models import Account, Product, is_product_id
from storefront.strictcsv import Problem, Refused, Table

MOST_CENTS = 100_000_000
MOST_STOCK = 1_000_000
MOST_QUANTITY = 100_000  # of one line: fuel is sold in hundredths of a gallon
ASSUMED_STOCK = 100  # of a new product, when the file has no stock column
LONGEST_NAME = 200
_PRODUCT_ID = re.compile(is_product_id.regex)
_PRICE = re.compile(r"\d{1,7}(?:\.\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_CLOCKS_DIFFER = timedelta(minutes=1)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH = 1_000
_MOST_KEPT = 100_000

Progress = Callable[[str, int], None]  # what is being done, and to which row


@dataclass(frozen=True, slots=True)
class Loaded:
    products: int
    events: int
    shoppers: int
    stock_assumed: bool


def load(products: Path | None, events_: Path | None, progress: Progress = lambda what, row: None) -> Loaded:
    """Load one file or both. Raises Refused, with nothing loaded, if anything in them is wrong."""
    product_table = Table(products, PRODUCT_COLUMNS, ("stock",)) if products else None
    event_table = Table(events_, EVENT_COLUMNS) if events_ else None
    ids = set(Product.objects.values_list("product_id", flat=True)) if event_table else set()
    if product_table:
        ids |= _check_products(product_table, progress)
    keys: list[str] = []
    if event_table:
        keys, sold = _check_events(event_table, ids, progress)
        _check_shoppers_are_new(event_table, keys)
    with transaction.atomic():
        product_count = _write_products(product_table, progress) if product_table else 0
        event_count = 0
        if event_table:
            shopper_ids = dict(zip(keys, privacy.join(len(keys)), strict=True))
            _write_accounts(shopper_ids)
            event_count = events.load(_loaded_events(event_table, shopper_ids, progress))
            _write_popularity(sold)
    stock_assumed = product_table is not None and "stock" not in product_table.columns
    return Loaded(product_count, event_count, len(keys), stock_assumed)


def username(key: str) -> str:
    """The name of a loaded shopper's account; the prefix keeps it apart from names that people choose."""
    return f"shopper-{key}"


# --- Products


def _check_products(table: Table, progress: Progress) -> set[str]:
    """The file's product ids."""
    lines: dict[str, int] = {}
    for row in _counted(table, "Checking products", progress):
        product = dict(zip(table.columns, row, strict=True))
        for column, what in _product_problems(product):
            table.complain(column, what)
        product_id = product["product_id"]
        if product_id in lines:
            table.complain("product_id", f"{product_id!r:.60} is on line {lines[product_id]} already")
        lines[product_id] = table.line
    table.settle()
    return set(lines)


def _product_problems(product: dict[str, str]) -> Iterator[tuple[str, str]]:
    product_id = product["product_id"]
    if not _PRODUCT_ID.search(product_id) or len(product_id) > MAX_TEXT:
        yield "product_id", f"{product_id!r:.60} must be 1 to {MAX_TEXT} letters, digits or . _ ~ -"
    for column, least, most in (
        ("name", 1, LONGEST_NAME),
        ("department", 1, MAX_TEXT),
        ("category", 1, MAX_TEXT),
        ("type", 0, MAX_TEXT),
        ("brand", 0, MAX_TEXT),
        ("size", 0, MAX_TEXT),
    ):
        if not _is_text(product[column], least, most):
            yield column, f"{product[column]!r:.60} must be {least} to {most} printable characters"
    if not _PRICE.fullmatch(product["price"]) or _cents(product["price"]) > MOST_CENTS:
        yield "price", f"{product['price']!r:.60} must be an amount such as 3.49, at most {MOST_CENTS // 100:,}"
    if "stock" in product and not _is_whole(product["stock"], 0, MOST_STOCK):
        yield "stock", f"{product['stock']!r:.60} must be a whole number from 0 to {MOST_STOCK:,}"


def _write_products(table: Table, progress: Progress) -> int:
    """New products are added, known ones brought up to date; those that the file lacks stay as they are."""
    texts = ("name", "department", "category", "type", "brand", "size")
    has_stock = "stock" in table.columns
    updated = [*texts, "price_cents", *(["stock"] if has_stock else [])]
    rows = _counted(table, "Loading products", progress)
    made = (
        Product(
            product_id=row["product_id"],
            **{column: row[column] for column in texts},
            price_cents=_cents(row["price"]),
            stock=int(row["stock"]) if has_stock else ASSUMED_STOCK,
        )
        for row in (dict(zip(table.columns, fields, strict=True)) for fields in rows)
    )
    count = 0
    while batch := list(islice(made, _BATCH)):
        Product.objects.bulk_create(batch, update_conflicts=True, unique_fields=["product_id"], update_fields=updated)
        count += len(batch)
    return count


# --- Events


def _check_events(table: Table, ids: set[str], progress: Progress) -> tuple[list[str], Counter[str]]:
    """The shoppers' keys in order of appearance, and how many purchases each product has.

    A million lines pass here, nearly all of them right: fields that were right before are let through by look-ups
    alone, and only the others are examined.
    """
    keys: dict[str, None] = {}
    baskets: set[str] = set()
    times: set[str] = set()
    quantities = set(map(str, range(1, 1_000)))
    sold: Counter[str] = Counter()
    latest = datetime.now(UTC) + _CLOCKS_DIFFER
    for shopper, basket, product_id, kind, quantity, time in _counted(table, "Checking events", progress):
        if not (
            shopper in keys
            and time in times
            and basket in baskets
            and product_id in ids
            and quantity in quantities
            and kind in KINDS
        ):
            problems = list(_event_problems(shopper, basket, product_id, kind, quantity, time, ids, latest))
            for column, what in problems:
                table.complain(column, what)
            keys[shopper] = None
            if not problems:
                if len(times) > _MOST_KEPT:  # so that memory has a bound whatever the file's length
                    times.clear()
                    baskets.clear()
                times.add(time)
                baskets.add(basket)
        if kind == "purchase":
            sold[product_id] += 1
    table.settle()
    return list(keys), sold


def _event_problems(
    shopper: str, basket: str, product_id: str, kind: str, quantity: str, time: str, ids: set[str], latest: datetime
) -> Iterator[tuple[str, str]]:
    if not _is_text(shopper, 1, MAX_TEXT):
        yield "shopper", f"{shopper!r:.60} must be 1 to {MAX_TEXT} printable characters"
    if not _is_text(basket, 0, MAX_TEXT):
        yield "basket", f"{basket!r:.60} must be at most {MAX_TEXT} printable characters"
    if product_id not in ids:
        yield "product_id", f"{product_id!r:.60} is no product of the shop: load it with --products, before or together"
    if kind not in KINDS:
        yield "kind", f"{kind!r:.60} must be one of {', '.join(sorted(KINDS))}"
    if not _is_whole(quantity, 1, MOST_QUANTITY):
        yield "quantity", f"{quantity!r:.60} must be a whole number from 1 to {MOST_QUANTITY:,}"
    moment = _moment(time)
    if moment is None:
        yield "time", f"{time!r:.60} must be ISO 8601 in UTC, such as 2026-01-31T17:45:00Z"
    elif moment > latest:
        yield "time", f"{time!r:.60} is in the future: events have happened"
    elif moment < _EARLIEST:
        yield "time", f"{time!r:.60} is before 1970"


def _check_shoppers_are_new(table: Table, keys: list[str]) -> None:
    names = [username(key) for key in keys]
    known: list[str] = []
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        known += User.objects.filter(username__in=batch).values_list("username", flat=True)
    if known:
        first, others = known[0].removeprefix(username("")), len(known) - 1
        who = f"shopper {first!r:.60}" + (f" and {others:,} others" if others else "")
        what = (
            f"{who} of this file were loaded before, and loading them again would count every event twice. "
            "From their first load on the shop records events itself; to start anew, begin with an empty database"
        )
        raise Refused([Problem(table.path.name, 0, "shopper", what)])


def _write_accounts(shopper_ids: dict[str, int]) -> None:
    nobody_can_sign_in = make_password(None)
    users = User.objects.bulk_create(
        (User(username=username(key), password=nobody_can_sign_in) for key in shopper_ids), batch_size=_BATCH
    )
    accounts = (
        Account(
            user=user,
            shopper_id=shopper_id,
            is_demo=settings.DEMO,
            household=f"Household {key}"[:120] if settings.DEMO else "",
        )
        for user, (key, shopper_id) in zip(users, shopper_ids.items(), strict=True)
    )
    Account.objects.bulk_create(accounts, batch_size=_BATCH)


def _loaded_events(table: Table, shopper_ids: dict[str, int], progress: Progress) -> Iterator[events.LoadedEvent]:
    """The second reading; what it meets was checked by the first, unless the file has changed since."""
    try:
        for shopper, basket, product_id, kind, quantity, time in _counted(table, "Loading events", progress):
            moment = _moment(time)
            if moment is None:
                raise ValueError(time)
            yield events.LoadedEvent(shopper_ids[shopper], product_id, kind, int(quantity), basket, moment)
        table.settle()
    except (KeyError, ValueError):
        table.refuse(table.line, "", "changed while it was being loaded: load it again")


def _write_popularity(sold: Counter[str]) -> None:
    table = connection.ops.quote_name(Product._meta.db_table)
    update = f"UPDATE {table} SET popularity = popularity + %s WHERE product_id = %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(update, [(count, product_id) for product_id, count in sold.items()])


# --- Fields


def _counted(table: Table, what: str, progress: Progress) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(table.rows(), start=1):
        if not number % 10_000:
            progress(what, number)
        yield row


@lru_cache(maxsize=65_536)
def _moment(text: str) -> datetime | None:
    """The UTC time, None if the text is none. Cached, for the lines of one basket bear one time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.utcoffset() == timedelta(0) else None


def _is_text(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isprintable() and (not text or bool(text.strip()))


def _is_whole(text: str, least: int, most: int) -> bool:
    return bool(_WHOLE.fullmatch(text)) and least <= int(text) <= most


def _cents(price: str) -> int:
    whole, _, part = price.partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0") or 0)
