"""WRITE DOOR: what shoppers did.

``record`` keeps events and, once they are committed, asks for new slates. Nothing here waits for AWS, and an
event outlives whatever is down.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ml import contract
from recommender import models, tasks
from recommender.models import HISTORY_KINDS, Event, Kind, Taken

__all__ = ["Known", "LoadedEvent", "NewEvent", "Taken", "history", "load", "record", "taken", "undo_dismiss"]

REPORTED_KINDS = frozenset(Kind.values) - {Kind.RESTORE.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Something that happens now. ``key`` makes it idempotent: a shopper's second event with the same key is none."""

    product_id: str
    kind: str
    quantity: int = 1
    basket: str = ""
    key: str | None = None
    slate_id: str = ""
    model_version: str = ""
    arm: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class LoadedEvent:
    """Something that happened in a past that is imported."""

    shopper_id: int
    product_id: str
    kind: str
    quantity: int
    basket: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """``count`` events of one kind on one product; ``time`` is that of the latest."""

    product_id: str
    kind: str
    time: datetime
    count: int


_COLUMNS = (
    "shopper_id", "product_id", "kind", "quantity", "basket", "time", '"key"', "slate_id", "model_version", "arm",
    "position",
)  # fmt: skip
_KEEP = f"INSERT INTO recommender_event ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - nothing in it is from outside
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_CONSENTS = "SELECT 1 FROM recommender_shopper WHERE id = %s AND consents"


def record(shopper_id: int, events: Sequence[NewEvent]) -> int:
    """Keep events; returns how many, 0 for a shopper who does not consent or is unknown.

    Raises ValueError for an event that cannot be: that is the caller's mistake, never the shopper's.
    """
    for event in events:
        _check(event)
    if not events:
        return 0
    with transaction.atomic():
        kept = _keep(shopper_id, events)
        if kept and any(event.kind in HISTORY_KINDS for event in events):
            tasks.refresh_after_commit(shopper_id)
    return kept


def _keep(shopper_id: int, events: Sequence[NewEvent]) -> int:
    """Two statements, written by hand since every click runs them: composing them took Django longer than the database
    takes. An event whose key this shopper has used before is left out by the index that makes keys unique."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    values = [
        value
        for one in events
        for value in (
            shopper_id, one.product_id, one.kind, one.quantity, one.basket, now, one.key, one.slate_id,
            one.model_version, one.arm, one.position,
        )
    ]  # fmt: skip
    with connection.cursor() as cursor:
        # Locked, so that no withdrawal comes between looking and writing; SQLite's writer is alone anyway.
        cursor.execute(_CONSENTS + (" FOR UPDATE" if connection.features.has_select_for_update else ""), [shopper_id])
        if cursor.fetchone() is None:
            return 0
        cursor.execute(_KEEP + ", ".join([_ROW] * len(events)) + " ON CONFLICT DO NOTHING", values)
        return int(cursor.rowcount)


def undo_dismiss(shopper_id: int, product_id: str) -> None:
    """Let a dismissed product be recommended again."""
    with transaction.atomic():
        dismissals = Event.objects.filter(shopper_id=shopper_id, product_id=product_id, kind=Kind.DISMISS)
        if dismissals.delete()[0]:
            Event.objects.create(shopper_id=shopper_id, product_id=product_id, kind=Kind.RESTORE)
            tasks.refresh_after_commit(shopper_id)


def taken(shopper_id: int, product_ids: Collection[str]) -> Taken:
    """Which of these products the shopper has bought or dismissed, as of now."""
    found = models.taken(shopper_id, product_ids)
    return Taken(found.bought, found.dismissed.intersection(product_ids))


def history(shopper_id: int, limit: int = 200) -> list[Known]:
    """What the shopper did, folded for each product and kind, newest first."""
    found = Event.objects.histories([shopper_id]).get(shopper_id)
    return [
        Known(product_id, kind, datetime.fromtimestamp(latest, UTC), repeats)
        for product_id, kind, latest, repeats in (found.folded[:limit] if found else ())
    ]


def load(rows: Iterable[LoadedEvent]) -> int:
    """Import events in bulk inside the caller's transaction; returns how many. Asks for no slates.

    Past the ORM, which would spend a minute on what takes seconds: COPY on PostgreSQL, one prepared statement on
    SQLite.
    """
    columns = "shopper_id, product_id, kind, quantity, basket, time"
    table = connection.ops.quote_name(Event._meta.db_table)
    counted = count()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row, _ in zip(rows, counted, strict=False):
                    copy.write_row((row.shopper_id, row.product_id, row.kind, row.quantity, row.basket, row.time))
        else:
            values = (
                # Django stores UTC without its name; its own adapter takes ten times as long to say the same.
                (one.shopper_id, one.product_id, one.kind, one.quantity, one.basket,
                 one.time.astimezone(UTC).replace(tzinfo=None).isoformat(" "))
                for one, _ in zip(rows, counted, strict=False)
            )  # fmt: skip
            insert = f"INSERT INTO {table} ({columns}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608
            with _indexes_rebuilt(cursor):
                while some := list(islice(values, 50_000)):  # Django keeps what it has passed on: never all of it
                    cursor.executemany(insert, some)
    return next(counted)


@contextmanager
def _indexes_rebuilt(cursor: CursorWrapper) -> Iterator[None]:
    """Without the table's indexes, which are built again at the end: sorting once is half the time of a million
    insertions. On SQLite a writer has the database to itself anyway, and all of it rolls back together."""
    cursor.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s AND sql IS NOT NULL",
        [Event._meta.db_table],
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")
    yield
    for _, sql in indexes:
        cursor.execute(sql)


def _check(event: NewEvent) -> None:
    if event.kind not in REPORTED_KINDS:
        raise ValueError(f"kind {event.kind!r:.40} is none of {', '.join(sorted(REPORTED_KINDS))}")
    if not 0 < len(event.product_id) <= contract.MAX_TEXT:
        raise ValueError(f"product_id must have 1 to {contract.MAX_TEXT} characters")
    if event.quantity < 1:
        raise ValueError(f"quantity {event.quantity} must be at least 1")
