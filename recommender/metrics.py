"""THE METRICS DOOR: what every process of the shop did, as Prometheus reads it.

Each process counts in memory (recommender.counters) and carries its counts to Redis once a second from a thread of its
own, where they are added up. So a page pays a fraction of a microsecond, one address answers for web servers and
workers on any machine, and only the last second of a killed process is lost. Counts start again at zero when Redis
loses its memory, which Prometheus knows how to read.
"""

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from recommender import counters, store
from recommender.pending import IN_FLIGHT, LATER, PENDING
from recommender.store import PREFIX, CacheDown

__all__ = ["CacheDown", "redis_seconds", "start", "text"]

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
_COUNTS, _STATES = f"{PREFIX}metrics", f"{PREFIX}states"
_GONE_SECONDS = 30  # a process that has told nothing for so long is not there any more

# name → label, help
COUNTERS = {
    "panels": ("source", "Slates handed to pages, by the tier that gave them."),
    "known_panels": ("source", "Of them, “for you” of shoppers who are known: an alarm on fallbacks watches these."),
    "drains": ("", "Times that keys were taken from the pending set."),
    "slates_written": ("", "Slates kept in Redis."),
    "failures": ("reason", "Invocations without a usable answer."),
    "queries_refused": ("", "Queries that the endpoint refused even alone."),
    "refreshes_dropped": ("", "Refreshes not asked for, because Redis was away; the sweep finds them."),
    "wake_ups_dropped": ("", "Wake-ups not sent, because the broker was away; the sweep sends them."),
}
HISTOGRAMS = {
    "queue_wait_seconds": "From a key's becoming pending to its being taken.",
    "invocation_seconds": "An invocation as its caller sees it, line and SageMaker's overhead included.",
    "write_seconds": "Writing a batch of slates to Redis.",
    "freshness_seconds": "From a shopper's newest event to the slate that knows of it.",
}
GAUGES = {"pending": PENDING, "later": LATER, "in_flight": IN_FLIGHT}


def start() -> None:
    """Carry this process's counts to Redis from now on."""
    threading.Thread(target=_carry_on, name="metrics", daemon=True).start()


def redis_seconds() -> float:
    """Seconds that this thread has spent in Redis since it began."""
    return store.spent()


def text() -> bytes:
    """Every metric in Prometheus's text format. Raises CacheDown."""
    registry = CollectorRegistry()
    registry.register(_Collected())
    return generate_latest(registry)


def carry(redis: Redis, sent: Counter[str]) -> None:
    """Add to Redis what was counted since ``sent``, and tell this process's states. Raises RedisError."""
    counts = Counter(counters.counts())
    pipe = redis.pipeline(transaction=False)
    for series, new in (counts - sent).items():
        pipe.hincrby(_COUNTS, series, new)
    for name, state in counters.states().items():
        pipe.hset(_STATES, f"{name} {socket.gethostname()} {os.getpid()}", f"{state} {time.time():.0f}")
    if pipe:
        pipe.execute()
    sent |= counts


def _carry_on() -> None:
    # A client of its own: what it finds out about Redis must not decide what pages do.
    redis = Redis.from_url(settings.RECOMMENDER["REDIS_URL"], socket_connect_timeout=1, socket_timeout=1)
    sent: Counter[str] = Counter()
    while True:
        time.sleep(EVERY_SECONDS)
        try:
            carry(redis, sent)
        except RedisError as error:
            logger.debug("Counts wait, Redis is away: %s", error)


class _Collected(Collector):
    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with store.redis() as redis:
            pipe = redis.pipeline(transaction=False)
            pipe.hgetall(_COUNTS)
            pipe.hgetall(_STATES)
            for key in GAUGES.values():
                pipe.zcard(key)
            counts, states, *sizes = pipe.execute()
        held = {series.decode(): int(value) for series, value in counts.items()}
        yield from (_counter(name, held) for name in COUNTERS)
        yield from (_histogram(name, held) for name in HISTOGRAMS)
        for name, size in zip(GAUGES, sizes, strict=True):
            yield GaugeMetricFamily(f"aisle_keys_{name}", "Keys in this set now.", value=size)
        yield _breakers({series.decode(): value.decode() for series, value in states.items()})


def _counter(name: str, held: dict[str, int]) -> Metric:
    label, what = COUNTERS[name]
    if not label:
        return CounterMetricFamily(f"aisle_{name}", what, value=held.get(name, 0))
    family = CounterMetricFamily(f"aisle_{name}", what, labels=[label])
    for series in sorted(one for one in held if one.startswith(f"{name}:")):
        family.add_metric([series.partition(":")[2]], held[series])
    return family


def _histogram(name: str, held: dict[str, int]) -> Metric:
    total, buckets = 0, []
    for position, bound in enumerate((*map(str, counters.BOUNDS), "+Inf")):
        total += held.get(f"{name}:{position}", 0)
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(
        f"aisle_{name}", HISTOGRAMS[name], buckets=buckets, sum_value=held.get(f"{name}:sum", 0) / 1e6
    )


def _breakers(states: dict[str, str]) -> Metric:
    """1 for a worker that leaves the endpoint alone at present."""
    family = GaugeMetricFamily(
        "aisle_breaker_open", "1 while this process leaves the endpoint alone.", labels=["process"]
    )
    for series, told in sorted(states.items()):
        _, _, process = series.partition(" ")
        state, _, moment = told.partition(" ")
        if time.time() - float(moment) < _GONE_SECONDS:
            family.add_metric([process], float(state != "closed"))
    return family
