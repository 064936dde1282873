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

from ml import contract
from recommender import models, tasks
from recommender.models import HISTORY_KINDS, Event, Kind, Shopper, Taken

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


def record(shopper_id: int, events: Sequence[NewEvent]) -> int:
    """Keep events; returns how many, 0 for a shopper who does not consent or is unknown.

    Raises ValueError for an event that cannot be: that is the caller's mistake, never the shopper's.
    """
    for event in events:
        _check(event)
    with transaction.atomic():
        # Locked, so that neither a withdrawal nor the same report comes between looking and writing.
        if not Shopper.objects.select_for_update().filter(pk=shopper_id, consents=True).exists():
            return 0
        new = _new(shopper_id, events)
        Event.objects.bulk_create(
            Event(
                shopper_id=shopper_id,
                product_id=event.product_id,
                kind=event.kind,
                quantity=event.quantity,
                basket=event.basket,
                key=event.key,
                slate_id=event.slate_id,
                model_version=event.model_version,
                arm=event.arm,
                position=event.position,
            )
            for event in new
        )
        if any(event.kind in HISTORY_KINDS for event in new):
            tasks.refresh_after_commit(shopper_id)
    return len(new)


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


def _new(shopper_id: int, events: Sequence[NewEvent]) -> list[NewEvent]:
    """Without those whose key this shopper has used before, here or in the database."""
    asked = {event.key for event in events if event.key is not None}
    used = set(Event.objects.filter(shopper_id=shopper_id, key__in=asked).values_list("key", flat=True))
    new = []
    for event in events:
        if event.key is None or event.key not in used:
            new.append(event)
            used.add(event.key)
    return new
