"""What the on-prem half remembers: shoppers who consented, and what they did."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

import orjson
from django.db import connection, models
from django.utils import timezone

from ml import contract


class Kind(models.TextChoices):
    VIEW = "view"
    CART = "cart"
    PURCHASE = "purchase"
    DISMISS = "dismiss"
    RESTORE = "restore"  # a dismissal taken back; a row of its own, so that a history's newest id only ever grows
    IMPRESSION = "impression"
    CLICK = "click"


# The kinds that change what a shopper should be recommended. The model knows all of them but `restore`.
HISTORY_KINDS: frozenset[str] = contract.KINDS | {Kind.RESTORE.value}


class Shopper(models.Model):
    """Somebody who lets the shop remember. A household, an account or a browser: the shop decides."""

    # What exports call this shopper. Opaque, and replaced by "forget me", so old exports point at nobody.
    export_key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Grows when this shopper's past is withdrawn; what was computed under an older one must not be shown.
    generation = models.PositiveIntegerField(default=0)
    consents = models.BooleanField(default=False)
    created = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"shopper {self.pk}"


# Events of one kind on one product: product_id, kind, the latest one's time (seconds since 1970), how many.
# A plain number in a plain tuple, for a drain reads tens of thousands of these in a second.
Folded = tuple[str, str, float, int]


@dataclass(frozen=True, slots=True)
class Taken:
    bought: frozenset[str]
    dismissed: frozenset[str]

    @classmethod
    def of(cls, told: str | None) -> "Taken":
        """What TAKEN returns; NULL on PostgreSQL where there is none."""
        rows = orjson.loads(told or "[]")
        return cls(
            bought=frozenset([product_id for product_id, kind in rows if kind == "purchase"]),
            dismissed=frozenset([product_id for product_id, kind in rows if kind == "dismiss"]),
        )


@dataclass(frozen=True, slots=True)
class History:
    """A shopper's folded past, newest first, and the id of its newest event (0 where there is none)."""

    folded: Sequence[Folded] = ()
    newest: int = 0


class EventQuerySet(models.QuerySet["Event"]):
    def that_change_histories(self) -> Self:
        return self.filter(kind__in=HISTORY_KINDS)

    def histories(self, shopper_ids: Collection[int]) -> dict[int, History]:
        """The folded histories of many shoppers in one query; who has no events is not in the answer."""
        found: dict[int, History] = {}
        with connection.cursor() as cursor:
            ids = _as_one(shopper_ids)
            cursor.execute(_HISTORIES_SQLITE if cursor.db.vendor == "sqlite" else _HISTORIES, [ids])
            for shopper_id, of_shopper in groupby(cursor, itemgetter(0)):
                found[shopper_id] = _folded(of_shopper)
        return found

    def newest(self, after: datetime, until: datetime) -> dict[int, int]:
        """The id of the newest event of each consenting shopper whose history changed in this span of time."""
        rows = (
            self.that_change_histories()
            .filter(time__gt=after, time__lte=until, shopper__consents=True)
            .order_by()
            .values_list("shopper_id")
            .annotate(newest=models.Max("pk"))
        )
        return dict(rows)


def _folded(rows: Iterable[tuple[int, str, str, float, int]]) -> History:
    """One shopper's rows, in the order of the index, so that what folds into one lies together."""
    folded: list[Folded] = []
    newest, repeats, last = 0, 0, ("", "")
    for _, product_id, kind, moment, event_id in rows:
        if event_id > newest:
            newest = event_id
        if (product_id, kind) == last:
            repeats += 1
            folded[-1] = product_id, kind, moment, repeats
        elif kind in contract.KINDS:
            last, repeats = (product_id, kind), 1
            folded.append((product_id, kind, moment, 1))
    folded.sort(key=itemgetter(2), reverse=True)
    return History(folded, newest)


# Every drain asks these two: composing them takes Django longer than the database takes to answer. Folding in SQL takes
# twice as long.
_GENERATIONS = "SELECT id, generation, consents FROM recommender_shopper WHERE id = ANY(%s)"
_GENERATIONS_SQLITE = (
    "SELECT id, generation, consents FROM recommender_shopper WHERE id IN (SELECT value FROM json_each(%s))"
)
_KINDS = ", ".join(f"'{kind}'" for kind in sorted(HISTORY_KINDS))
_HISTORIES = f"""
SELECT shopper_id, product_id, kind, EXTRACT(EPOCH FROM time)::double precision, id FROM recommender_event
WHERE shopper_id = ANY(%s) AND kind IN ({_KINDS}) ORDER BY shopper_id, kind, product_id, time
"""  # noqa: S608 - nothing in it is from outside
_HISTORIES_SQLITE = f"""
SELECT shopper_id, product_id, kind, (julianday(time) - 2440587.5) * 86400.0, id FROM recommender_event
WHERE shopper_id IN (SELECT value FROM json_each(%s)) AND kind IN ({_KINDS})
ORDER BY shopper_id, kind, product_id, time
"""  # noqa: S608 - nor in this


def _as_one(values: Collection[Any]) -> Any:
    """One parameter that holds all, so that the statement is always the same."""
    return orjson.dumps(list(values)).decode() if connection.vendor == "sqlite" else list(values)


# JSON rows of product_id and kind. ``maybe_taken`` is a JSON array: see ``taken``. Parameters by name, for which Django
# need not search the statement on SQLite. Which of the ids were bought, and not which of what was bought are they: a
# quarter cheaper on SQLite, and PostgreSQL would compare each purchase with each id.
TAKEN = """
SELECT json_agg(json_build_array(product_id, kind))::text FROM (
  SELECT product_id, kind FROM recommender_event WHERE shopper_id = %(shopper_id)s AND kind = 'dismiss' UNION ALL
  SELECT value, 'purchase' FROM json_array_elements_text(%(maybe_taken)s) WHERE EXISTS
    (SELECT 1 FROM recommender_event WHERE shopper_id = %(shopper_id)s AND kind = 'purchase' AND product_id = value)
) AS taken
"""
TAKEN_SQLITE = """
SELECT json_group_array(json_array(product_id, kind)) FROM (
  SELECT product_id, kind FROM recommender_event WHERE shopper_id = %(shopper_id)s AND kind = 'dismiss' UNION ALL
  SELECT value, 'purchase' FROM json_each(%(maybe_taken)s) WHERE EXISTS
    (SELECT 1 FROM recommender_event WHERE shopper_id = %(shopper_id)s AND kind = 'purchase' AND product_id = value)
)
"""


def taken(shopper_id: int, product_ids: Collection[str]) -> Taken:
    """Which of these products the shopper has bought, and everything that they have dismissed, as of now.

    Every page of a known shopper asks this, so it is written by hand: composing the statement anew takes Django
    longer than the database takes to answer it. One parameter holds all ids, as JSON, so that the statement is always
    the same and Django on PostgreSQL quotes one text and not each id. There is one value to return, so that who has
    more to ask may put both into one statement.
    """
    maybe_taken = orjson.dumps(list(product_ids)).decode()
    with connection.cursor() as cursor:
        cursor.execute(
            TAKEN_SQLITE if cursor.db.vendor == "sqlite" else TAKEN,
            {"shopper_id": shopper_id, "maybe_taken": maybe_taken},
        )
        return Taken.of(cursor.fetchone()[0])


class Event(models.Model):
    """One thing a shopper did with one product."""

    # No index of its own: the first one below begins with the shopper.
    shopper = models.ForeignKey(Shopper, on_delete=models.CASCADE, db_index=False, related_name="events")
    product_id = models.CharField(max_length=contract.MAX_TEXT)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    quantity = models.PositiveIntegerField(default=1)
    basket = models.CharField(max_length=128, blank=True, db_default="")  # basket or session
    time = models.DateTimeField(default=timezone.now)
    # Given by whoever reports the event, so that a repeated report is one event.
    key = models.CharField(max_length=64, null=True, blank=True)
    # What the shopper was shown when it happened: joins an impression or click with the prediction behind it.
    slate_id = models.CharField(max_length=contract.MAX_TEXT, blank=True, db_default="")
    model_version = models.CharField(max_length=contract.MAX_TEXT, blank=True, db_default="")
    arm = models.CharField(max_length=63, blank=True, db_default="")  # as long as a SageMaker variant's name
    position = models.PositiveSmallIntegerField(null=True, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = (
            # A history, what was taken, and a shopper's newest event, each from the index alone.
            models.Index(fields=["shopper", "kind", "product_id", "time"], name="event_history"),
            # The sweep: who did something lately.
            models.Index(fields=["time"], name="event_time"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["shopper", "key"], condition=models.Q(key__isnull=False), name="event_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.product_id}"


class OwedPurge(models.Model):
    """A withdrawal that Redis has not heard of yet, because it was away: the sweep settles it.

    Not a foreign key, since the shopper may be gone by then.
    """

    shopper_id = models.BigIntegerField(primary_key=True)
    generation = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"purge of shopper {self.shopper_id}"


def generations(shopper_ids: Collection[int]) -> Mapping[int, tuple[int, bool]]:
    """Each shopper's generation and consent; who is unknown is not in the answer."""
    with connection.cursor() as cursor:
        cursor.execute(_GENERATIONS_SQLITE if cursor.db.vendor == "sqlite" else _GENERATIONS, [_as_one(shopper_ids)])
        return {shopper_id: (generation, bool(consents)) for shopper_id, generation, consents in cursor.fetchall()}
