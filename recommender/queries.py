"""From keys to what the model is asked: histories folded, cut and aged; never whose they are."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from ml import contract
from recommender import experiments, keys
from recommender.models import Event, History, generations

# All that the contract takes. Measured on the grocery data: households have some 600 lines a year; cut at 300 folded
# entries, recall@20 of something new falls from .040 to .037. 500 entries are 37 kB: drains are cut by bytes as well.
MAX_HISTORY = contract.MAX_HISTORY
# More than a panel shows, because the shop hides what became untrue: sold out, in the cart, bought, dismissed.
LONG, SHORT = 48, 24
# What a request may weigh; the contract's limit leaves room for the envelope.
MOST_BYTES = contract.MAX_BYTES - 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key and its query, encoded; no query where nothing is to be asked and an empty slate is the answer."""

    key: str
    slate_id: str = ""
    query: bytes = b""
    latest: float = 0.0  # when the newest event happened, in seconds since 1970
    event: int = 0
    generation: int = 0
    arm: str = ""


def build(wanted: Sequence[str], now: float) -> list[Wanted]:
    """Queries for these keys as of now (seconds since 1970); all their shoppers' histories are read at once.

    Skips what is not a key.
    """
    parsed = []
    for key in wanted:
        try:
            parsed.append((key, *keys.parse(key)))
        except ValueError:
            continue
    shopper_ids = [int(content) for _, family, content in parsed if family == "shopper"]
    # Generations first: who withdraws between the two reads has the newer one, and this drain's answer is refused.
    of_shopper = generations(shopper_ids)
    histories = Event.objects.histories([pk for pk, (_, consents) in of_shopper.items() if consents])
    built = []
    for key, family, content in parsed:
        if family == "shopper":
            shopper_id = int(content)
            generation, _ = of_shopper.get(shopper_id, (0, False))
            built.append(_of_shopper(key, shopper_id, histories.get(shopper_id, History()), generation, now))
        else:
            built.append(Wanted(key, *_anonymous(family, content)))
    return built


def batches(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Those of one arm, since the variant is a property of the call, up to so many bytes."""
    for arm in sorted({one.arm for one in wanted}):
        batch: list[Wanted] = []
        weight = 0
        for one in (each for each in wanted if each.arm == arm):
            weighs = len(one.query) + 1
            if batch and weight + weighs > MOST_BYTES:
                yield batch
                batch, weight = [], 0
            batch.append(one)
            weight += weighs
        yield batch


def _of_shopper(key: str, shopper_id: int, history: History, generation: int, now: float) -> Wanted:
    if not history.folded:
        return Wanted(key, event=history.newest, generation=generation)
    dismissed = [product_id for product_id, kind, _, _ in history.folded if kind == "dismiss"]
    del dismissed[contract.MAX_EXCLUDE :]
    slate_id, query = _query(
        [
            {
                "product_id": product_id,
                "kind": cast(contract.Kind, kind),
                "age": 0.0 if latest > now else min(now - latest, contract.MAX_AGE),  # 0: a clock ahead
                "count": repeats,
            }
            for product_id, kind, latest, repeats in history.folded[:MAX_HISTORY]
        ],
        contract.SlateQuery(name="for_you", limit=LONG, exclude=dismissed),
        contract.SlateQuery(name="again", limit=LONG, exclude=dismissed),
    )
    return Wanted(key, slate_id, query, history.folded[0][2], history.newest, generation, experiments.arm(shopper_id))


def _anonymous(family: keys.Family, content: str) -> tuple[str, bytes]:
    if family == "popular":
        popular = contract.SlateQuery(name="popular", limit=LONG)
        if content:
            popular["category"] = content
        return _query([], popular) if len(content) <= contract.MAX_TEXT else ("", b"")
    if family == "cart":
        return _query(_just_now("cart", keys.in_cart(content)), contract.SlateQuery(name="complete", limit=SHORT))
    return _query(
        _just_now("view", [content]),
        contract.SlateQuery(name="for_you", limit=LONG),
        contract.SlateQuery(name="together", limit=SHORT),
        contract.SlateQuery(name="similar", limit=SHORT),
    )


def _just_now(kind: contract.Kind, product_ids: Sequence[str]) -> list[contract.HistoryItem]:
    return [contract.HistoryItem(product_id=one, kind=kind, age=0.0, count=1) for one in product_ids if one]


def _query(history: list[contract.HistoryItem], *slates: contract.SlateQuery) -> tuple[str, bytes]:
    slate_id = secrets.token_urlsafe(12)
    return slate_id, orjson.dumps(contract.Query(slate_id=slate_id, history=history, slates=list(slates)))
