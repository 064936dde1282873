"""What happens behind the page: refresh slates, notice what was missed, export.

The unit of refreshing is a key in the pending set, not a task: a task is only a wake-up, sent when none is
waiting, and drains whatever is pending. So repeated events collapse, and a burst costs a handful of calls.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import orjson
from celery import shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from ml import contract
from recommender import answers, aws, cache, counters, keys, pending, queries
from recommender.models import Event, OwedPurge
from recommender.queries import Wanted

logger = logging.getLogger(__name__)

AWAY_SECONDS = 1  # before the database or Redis is tried again
TRIES = 10  # to give keys back; a Redis that is away for longer has mostly forgotten them
BATCH = 256  # keys taken at once: one call, or two where all have the longest histories
# The sweep looks at events that are this old: younger ones are probably being drained right now…
_SETTLED = timedelta(seconds=5)
# …and goes over this much of the past again, since a transaction may commit after a later one.
_OVERLAP = timedelta(seconds=30)
# A model of another catalogue keeps the contract and would empty the panels. Of so many of an answer's products the
# shop must know this share; what left the catalogue since the model was trained is far less.
_SAMPLE, _LEAST_KNOWN = 200, 0.1
# Where Redis lost even the note of how far the sweep had come, slates are gone too: this far back they are made
# before anybody asks, the others when their shopper comes.
_LOST_MEMORY = timedelta(hours=1)

ExportFailed = aws.UploadFailed  # for the command, which must not know AWS


def request_refresh(wanted: Collection[str], later: bool = False) -> None:
    """Make keys pending and wake a worker if none is awake. Never raises and never waits: what is dropped here is
    counted, and found by the sweep or asked for again by the next page."""
    if not wanted:
        return
    try:
        wake = pending.add(wanted, later)
    except cache.CacheDown as error:
        dropped = counters.count("refreshes_dropped", len(wanted))
        logger.warning("Refresh dropped, Redis is away (%s); %d so far in this process", error, dropped)
        return
    if wake:
        wake_worker()


def refresh_after_commit(shopper_id: int) -> None:
    """Ask for a shopper's slates once what changed them is committed, for a drain must see it."""
    transaction.on_commit(partial(request_refresh, [keys.shopper(shopper_id)]), robust=True)


def wake_worker(countdown: int = 0) -> None:
    """Send a wake-up. Never raises: the keys stay pending, and the sweep sends another."""
    try:
        # `expires`: after an outage, one drain does the work of all the wake-ups that it missed.
        refresh.apply_async(countdown=countdown, expires=countdown + pending.WAKE_SECONDS)
    except Exception as error:  # the broker's client raises its own, its transport's and its socket's errors
        dropped = counters.count("wake_ups_dropped")
        logger.warning("Wake-up dropped, the broker is away (%s); %d so far in this process", error, dropped)
        with suppress(cache.CacheDown):
            pending.drop_wake()


@shared_task
def refresh() -> int:
    """Take what is pending, ask the endpoint, keep its answers. Returns how many slates were kept.

    Retries are the pending set's: what cannot be served goes back there, and this task comes again later.
    """
    try:
        taken = pending.take(BATCH)
    except cache.CacheDown as error:
        logger.warning("No drain, Redis is away: %s", error)
        return 0
    if taken.more:
        wake_worker()
    counters.count("drains")
    counters.observe("queue_wait_seconds", taken.waited)
    kept = 0
    try:
        for batch in queries.batches(queries.build(taken.keys, time.time())):
            kept += _put(batch, taken)
    except aws.EndpointError as error:
        _back_off(taken, aws.backoff(), error)
    except (OperationalError, InterfaceError, cache.CacheDown) as error:
        _back_off(taken, AWAY_SECONDS, error)
    return kept


def _put(batch: Sequence[Wanted], taken: pending.Taken) -> int:
    """Ask, keep, and tell how it went. Returns how many slates were kept."""
    entries = _entries(batch)
    began = time.monotonic()
    verdicts = cache.put(entries, taken.deadline)
    counters.observe("write_seconds", [time.monotonic() - began])
    now = time.time()
    came = {key: taken.moment - waited for key, waited in zip(taken.keys, taken.waited, strict=True)}
    # Only what an event has asked for: a slate that was made because it had grown old follows one of long ago.
    news = (one for one, verdict in zip(batch, verdicts, strict=True) if verdict == cache.NEWER)
    counters.observe(
        "freshness_seconds",
        [now - one.latest for one in news if one.latest > came[one.key] - _SETTLED.total_seconds()],
    )
    kept = len(verdicts) - verdicts.count(cache.REFUSED)
    counters.count("slates_written", kept)
    return kept


def _entries(batch: Sequence[Wanted]) -> list[cache.Entry]:
    asked = [one for one in batch if one.query]
    bodies = _asked(asked) if asked else {}
    return [cache.Entry(one.key, bodies.get(one.slate_id, cache.Body()), one.event, one.generation) for one in batch]


def _asked(batch: Sequence[Wanted]) -> dict[str, cache.Body]:
    """Bodies by slate_id. A batch that is refused is halved until the query that breaks it stands alone: that one
    gets an empty slate, for it would be refused for ever."""
    arm = batch[0].arm
    try:
        response = aws.recommend({one.slate_id: one.query for one in batch}, arm or None)
    except aws.EndpointRefused as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            return _asked(batch[:middle]) | _asked(batch[middle:])
        logger.error("The endpoint refuses the query of %s: %s", batch[0].key, error)
        counters.count("queries_refused")
        return {}
    _recognise(response)
    _notice_model(response.model_version)
    return {
        answer.slate_id: cache.Body(
            answer.slate_id,
            response.model_version,
            arm,
            {
                name: ([i.product_id for i in items], [i.score for i in items], [i.because for i in items])
                for name, items in answer.slates.items()
            },
        )
        for answer in response.answers
    }


def _recognise(response: answers.Response) -> None:
    """Raise EndpointNonsense for an answer made of products that the shop does not have."""
    named = {one.product_id for a in response.answers for items in a.slates.values() for one in items[::12]}
    sample = list(islice(named, _SAMPLE))
    known = cast(Callable[[Sequence[str]], Collection[str]], import_string(settings.RECOMMENDER["KNOWN"]))
    if sample and len(known(sample)) < _LEAST_KNOWN * len(sample):
        counters.count("failures", label="Strangers")
        raise aws.EndpointNonsense(f"{response.model_version} recommends products like {sample[0]!r}, not of this shop")


def _back_off(taken: pending.Taken, seconds: int, error: Exception) -> None:
    """Give back what was taken and not done. If it is Redis that is away, as soon as it hears again."""
    logger.warning("A drain of %d keys waits for %d s, %s: %s", len(taken.keys), seconds, type(error).__name__, error)
    for _ in range(TRIES):
        try:
            pending.give_back(taken.keys, taken.deadline)
            if pending.hold(seconds):
                wake_worker(countdown=seconds)
            return
        except cache.CacheDown:
            time.sleep(AWAY_SECONDS)
    logger.warning("%d keys stay in flight until the sweep, Redis is away", len(taken.keys))


def _notice_model(model_version: str) -> None:
    if pending.is_new_model(model_version):
        logger.info("Model %s answers: its product slates are asked for", model_version)
        try:
            warm_products.apply_async()
        except Exception as error:
            logger.warning("Product slates stay as they are until they expire, the broker is away: %s", error)


@shared_task
def warm_products() -> int:
    """Ask again for the slates of every product; those of the last model are shown until the new ones are there."""
    product_ids = (row["product_id"] for row in _catalogue())
    return sum(_request_later(map(keys.product, product_ids)))


@shared_task
def refresh_popular() -> int:
    """Ask again for what sells, overall and in each category of the catalogue."""
    categories = sorted({row["category"] for row in _catalogue()} - {""})
    return sum(_request_later(map(keys.popular, ["", *categories])))


def _request_later(wanted: Iterable[str]) -> Iterator[int]:
    wanted = iter(wanted)
    while some := list(islice(wanted, 1000)):
        request_refresh(some, later=True)
        yield len(some)


def _catalogue() -> Iterable[contract.ProductRow]:
    rows = cast(Callable[[], Iterable[contract.ProductRow]], import_string(settings.RECOMMENDER["CATALOGUE"]))
    return rows()


@shared_task
def sweep() -> None:
    """Put right what crashes and outages left: keys of dead workers, withdrawals and refreshes that Redis missed."""
    try:
        returned = pending.return_expired()
        if returned:
            logger.warning("%d keys return from workers that did not finish", returned)
        for owed in OwedPurge.objects.all():
            settle(owed.shopper_id, owed.generation)
        cache.drop_old_generations()
        _catch_up(timezone.now() - _SETTLED)
        if pending.wake_if_pending():
            wake_worker()
    except cache.CacheDown as error:
        logger.warning("No sweep, Redis is away: %s", error)


def settle(shopper_id: int, generation: int) -> None:
    """Purge a shopper from Redis, and then the note that says it is owed. Raises CacheDown."""
    cache.withdraw(keys.shopper(shopper_id), generation)
    OwedPurge.objects.filter(shopper_id=shopper_id, generation__lte=generation).delete()


def _catch_up(until: datetime) -> None:
    """Make pending whose newest event is newer than their slate."""
    last = pending.swept()
    after = until - _LOST_MEMORY if last is None else datetime.fromtimestamp(last, UTC) - _OVERLAP
    newest = {keys.shopper(pk): event for pk, event in Event.objects.newest(after, until).items()}
    made_from = cache.made_from(list(newest))
    cache_misses = [key for key, event in newest.items() if made_from.get(key, -1) < event]
    if cache_misses:
        pending.add(cache_misses)
    pending.mark_swept(until.timestamp())


@shared_task
def export_events() -> dict[str, int | str]:
    """Write both tables as Parquet and upload them. Running it again replaces them: no retries but its own schedule.

    The marker goes first and comes back last, so that nobody trains on half an export.
    """
    from recommender import export  # here, because it brings pyarrow, which every web process would load and never use

    url = str(settings.RECOMMENDER["EXPORT_URL"]).rstrip("/")
    aws.remove_others(f"{url}/{contract.EXPORT_MARKER}", keep=set())
    rows = {}
    for prefix, parts in (
        (contract.EVENTS_PREFIX, export.events),
        (contract.PRODUCTS_PREFIX, lambda folder: export.products(_catalogue(), folder)),
    ):
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            uploaded = set()
            rows[prefix.rstrip("/")] = 0
            for path, count in parts(Path(folder)):
                target = f"{url}/{prefix}{path.name}"
                aws.upload(path, target)
                path.unlink()
                uploaded.add(target)
                rows[prefix.rstrip("/")] += count
        aws.remove_others(f"{url}/{prefix}", keep=uploaded)
    with tempfile.NamedTemporaryFile() as marker:
        marker.write(orjson.dumps(rows))
        marker.flush()
        aws.upload(Path(marker.name), f"{url}/{contract.EXPORT_MARKER}")
    logger.info("Exported %s to %s", rows, url)
    return {"url": url, **rows}
