"""THE PRIVACY DOOR: who takes part, what is known of them, and how it is forgotten.

A withdrawal bumps the shopper's generation, in the database first. Redis refuses slates of an older generation, so
a drain that is under way cannot bring back what was withdrawn. If Redis is away, the purge is owed and noted, and
the sweep settles it.
"""

import logging
import uuid
from typing import Any

from django.db import transaction
from django.db.models import Count, F

from recommender import cache, keys, tasks
from recommender.models import Event, OwedPurge, Shopper

__all__ = [
    "counts", "erase", "forget", "forget_product", "is_in", "join", "known", "merge", "opt_in", "opt_out", "renew",
]  # fmt: skip

logger = logging.getLogger(__name__)


def join(count: int = 1) -> list[int]:
    """New shoppers who consent: their ids."""
    return [shopper.pk for shopper in Shopper.objects.bulk_create(Shopper(consents=True) for _ in range(count))]


def is_in(shopper_id: int) -> bool:
    return Shopper.objects.filter(pk=shopper_id, consents=True).exists()


def opt_in(shopper_id: int) -> None:
    """Remember and personalise from now on."""
    with transaction.atomic():
        if Shopper.objects.filter(pk=shopper_id).update(consents=True):
            tasks.refresh_after_commit(shopper_id)


def opt_out(shopper_id: int) -> None:
    """Store nothing more and personalise nothing. What was stored stays until ``forget``."""
    with transaction.atomic():
        _withdraw(shopper_id, consents=False)


def forget(shopper_id: int) -> None:
    """Delete what is stored, and cut the tie to exports already made. Consent stays as it is."""
    with transaction.atomic():
        _withdraw(shopper_id, export_key=uuid.uuid4())
        Event.objects.filter(shopper_id=shopper_id).delete()


def forget_product(shopper_id: int, product_id: str) -> None:
    """As if the shopper had never met this product: its events go, and what was computed from them is made anew."""
    with transaction.atomic():
        _withdraw(shopper_id)
        Event.objects.filter(shopper_id=shopper_id, product_id=product_id).delete()
        tasks.refresh_after_commit(shopper_id)


def erase(shopper_id: int) -> None:
    """``forget``, and the shopper is no more. For a day, Redis keeps the number of a generation, to refuse drains."""
    with transaction.atomic():
        forget(shopper_id)
        Shopper.objects.filter(pk=shopper_id).delete()


def renew(shopper_id: int) -> int:
    """The same shopper under a new id, which is returned. The old one, in whatever cookie it stands, is nobody's."""
    with transaction.atomic():
        old = Shopper.objects.select_for_update().filter(pk=shopper_id).first()
        new = Shopper.objects.create(consents=old is not None and old.consents)
        if old is not None:
            _withdraw(shopper_id)
            Event.objects.filter(shopper_id=shopper_id).update(shopper_id=new.pk)
            old.delete()
            tasks.refresh_after_commit(new.pk)
    return new.pk


def merge(visitor_id: int, into: int) -> None:
    """Sign-in: the visitor's history becomes the shopper's, if both consented to one being kept; else it is deleted.

    The visitor ends here.
    """
    if visitor_id == into:
        return
    with transaction.atomic():
        # In the order of their ids, so that two sign-ins cannot wait for each other.
        both = Shopper.objects.select_for_update().filter(pk__in=[visitor_id, into]).order_by("pk")
        consents = {shopper.pk: shopper.consents for shopper in both}
        if visitor_id not in consents:
            return
        _withdraw(visitor_id)
        if consents[visitor_id] and consents.get(into):
            theirs = Event.objects.filter(shopper_id=visitor_id)
            reported = Event.objects.filter(shopper_id=into, key__isnull=False).values("key")
            theirs.filter(key__in=reported).delete()
            if theirs.update(shopper_id=into):
                tasks.refresh_after_commit(into)
        Shopper.objects.filter(pk=visitor_id).delete()


def counts(shopper_id: int) -> dict[str, int]:
    """How many events of each kind are stored."""
    of_kind = Event.objects.filter(shopper_id=shopper_id).order_by().values_list("kind").annotate(Count("pk"))
    return dict(of_kind)


def known(shopper_id: int) -> dict[str, Any]:
    """Everything that is stored of a shopper, ready for JSON: the answer to "what do you know of me?"."""
    shopper = Shopper.objects.filter(pk=shopper_id).first()
    if shopper is None:
        return {}
    fields = (
        "product_id", "kind", "quantity", "basket", "time", "key", "slate_id", "model_version", "arm", "position",
    )  # fmt: skip
    events = Event.objects.filter(shopper_id=shopper_id).order_by("-time", "-pk").values(*fields)
    return {
        "shopper_id": shopper.pk,
        "export_key": str(shopper.export_key),
        "consents": shopper.consents,
        "created": shopper.created.isoformat(),
        "events": [{**event, "time": event["time"].isoformat()} for event in events],
        "recommendations": _recommended(shopper_id),
    }


def _recommended(shopper_id: int) -> dict[str, list[dict[str, str | None]]]:
    """By slate, what would be shown, and because of which product of the history."""
    key = keys.shopper(shopper_id)
    try:
        body = cache.peek(key)
    except cache.CacheDown as error:
        logger.warning("An export of somebody's data goes without recommendations, Redis is away: %s", error)
        return {}
    if body is None:
        return {}
    return {
        name: [{"product_id": one, "because": because} for one, because in zip(columns[0], columns[2], strict=True)]
        for name, columns in body.slates.items()
    }


def _withdraw(shopper_id: int, **changes: Any) -> None:
    """Change the shopper, raise the generation, and purge Redis after the commit."""
    if not Shopper.objects.filter(pk=shopper_id).update(generation=F("generation") + 1, **changes):
        return
    generation = Shopper.objects.values_list("generation", flat=True).get(pk=shopper_id)
    OwedPurge.objects.update_or_create(shopper_id=shopper_id, defaults={"generation": generation})

    def settle() -> None:
        try:
            tasks.settle(shopper_id, generation)
        except cache.CacheDown as error:
            logger.warning("The purge of shopper %d waits for Redis: %s", shopper_id, error)

    transaction.on_commit(settle, robust=True)
