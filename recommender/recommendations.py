"""READ DOOR: what to show. One Redis round trip for a page, never AWS, and always an answer.

``for_you`` is the first of these that has something: the shopper's own slate (fresh, or stale while a new one is
made), what goes with what was last looked at, what sells in the category, what sells, and what this process
remembers of that for when Redis is away.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from recommender import cache, counters, keys, tasks
from recommender.models import TAKEN, TAKEN_SQLITE, Taken, taken

__all__ = ["TAKEN", "TAKEN_SQLITE", "Slate", "Taken", "for_page"]

logger = logging.getLogger(__name__)

# The model is a linear map of the history, so the slate of several views is the sum of their slates, each weighed
# by its recency; only what lies beyond the end of each list is lost. Halving is steeper than the model's own decay
# (which sees no difference between two minutes and four) because here the last look is the best guess.
VIEW_WEIGHTS = (1.0, 0.5, 0.25)
MOST_REMEMBERED = 1_000  # categories


Ask = Callable[[Mapping[str, "Slate"], Collection[str]], Taken]  # of slates as they were made, and ids of theirs


class Slate(NamedTuple):
    """Product ids, best first, and what each is there for: a product, or None where it only sells. No ids, no panel.

    ``source`` is the tier that gave it: fresh, stale, viewed, category, popular or none. ``bought`` are those of the
    reasons that the shopper has bought; the others they looked at.
    """

    name: str
    ids: Sequence[str] = ()
    because: Mapping[str, str | None] = MappingProxyType({})
    source: str = "none"
    slate_id: str = ""
    model_version: str = ""
    arm: str = ""
    bought: frozenset[str] = frozenset()


_remembered: dict[str, tuple[bytes, cache.Body]] = {}  # popular slates by key, as Redis held them and decoded


class _Bodies:
    """What a page read, decoded when it is looked at: most of it is there in case something better is missing.

    Popular slates are everybody's, so each is decoded once for this process and remembered in case Redis loses it.
    """

    def __init__(self, held: Mapping[str, cache.Held]) -> None:
        self._held = held
        for key, found in held.items():
            if key.startswith(keys.popular()):
                _remember(key, found)

    def __call__(self, key: str | None) -> cache.Body | None:
        if key is None:
            return None
        if key in _remembered and (key not in self._held or self._held[key].value == _remembered[key][0]):
            return _remembered[key][1]
        return self._held[key].decoded() if key in self._held else None


def _remember(key: str, held: cache.Held) -> None:
    if key in _remembered:
        if _remembered[key][0] == held.value:
            return
    elif len(_remembered) >= MOST_REMEMBERED:
        return
    body = held.decoded()
    if body.slates:
        _remembered[key] = held.value, body


def for_page(
    *,
    shopper_id: int | None = None,
    viewed: Sequence[str] = (),
    product_id: str | None = None,
    cart: Collection[str] = (),
    category: str | None = None,
    names: Collection[str],
    ask: Ask | None = None,
) -> dict[str, Slate]:
    """Every slate that a page needs. Never raises for what is down; what is missing is asked for and comes later.

    ``ask``: the caller's own way to ask the database TAKEN, for a caller with more to ask in the same statement.
    """
    own = keys.shopper(shopper_id) if shopper_id is not None else None
    looked_at = {one: keys.product(one) for one in viewed[: len(VIEW_WEIGHTS)]}
    product = keys.product(product_id) if product_id else None
    in_category = keys.popular(category) if category else None
    needed: dict[str, list[str | None]] = {
        "for_you": [own, *looked_at.values(), in_category, keys.popular()],
        "again": [own],
        "together": [product],
        "similar": [product],
        "complete": [keys.cart(cart) if cart else None],
        "popular": [in_category, keys.popular()],
    }
    body = _read({key for name in names for key in needed[name] if key})

    def popular(name: str) -> Slate:
        overall = _slate(name, body(keys.popular()), "popular", "popular")
        of_category = _slate(name, body(in_category), "popular", "category")
        return _followed(of_category, overall) if of_category.ids else overall

    page: dict[str, Slate] = {}
    for name in names:
        if name == "popular":
            page[name] = popular(name)
            continue
        page[name] = _slate(name, body(needed[name][0]))
        if name == "for_you":
            if not page[name].ids:
                page[name] = _viewed(looked_at, body)
            if not page[name].ids:
                page[name] = popular(name)
    for slate in page.values():
        counters.count("panels", label=slate.source)
    if shopper_id is not None and "for_you" in page:
        counters.count("known_panels", label=page["for_you"].source)
    return page if shopper_id is None else _without_taken(page, shopper_id, ask)


def _read(wanted: Collection[str]) -> _Bodies:
    """Bodies by key: Redis's, and where it has none of something popular, or is away, this process's memory."""
    try:
        answer = cache.read(list(wanted))
    except cache.CacheDown as error:
        logger.warning("Slates come from memory, Redis is away: %s", error)
        return _Bodies({})
    if answer.wake:
        tasks.wake_worker()
    return _Bodies(answer.held)


def _slate(name: str, body: cache.Body | None, inside: str = "", source: str = "") -> Slate:
    """The slate of this name, found ``inside`` the body under its own name unless said otherwise."""
    columns = body.slates.get(inside or name) if body else None
    if not body or not columns or not columns[0]:
        return Slate(name)
    ids, _, because = columns
    tier = source or ("fresh" if body.fresh else "stale")
    return Slate(name, ids, dict(zip(ids, because, strict=True)), tier, body.slate_id, body.model_version, body.arm)


def _followed(first: Slate, second: Slate) -> Slate:
    """The products of both, since a small category's may all be sold out, in the cart or elsewhere on the page."""
    ids = [*first.ids, *(one for one in second.ids if one not in first.because)]
    return first._replace(ids=ids, because={**second.because, **first.because})


def _viewed(looked_at: Mapping[str, str], body: _Bodies) -> Slate:
    """What goes with the products last looked at, newest first: see VIEW_WEIGHTS."""
    scores: dict[str, float] = {}
    best: dict[str, tuple[float, str]] = {}
    used = []
    for (looked, key), weight in zip(looked_at.items(), VIEW_WEIGHTS, strict=False):
        held = body(key)
        if not held or "for_you" not in held.slates:
            continue
        # What popularity filled in goes with nothing.
        rows = zip(*held.slates["for_you"], strict=True)
        found = {one: weight * score for one, score, why in rows if why is not None and one not in looked_at}
        if found:
            used.append(held)
        for product_id, part in found.items():
            scores[product_id] = scores.get(product_id, 0.0) + part
            if part > best.get(product_id, (0.0, ""))[0]:
                best[product_id] = part, looked
    if not used:
        return Slate("for_you")
    ranked = sorted(scores, key=lambda product_id: -scores[product_id])
    because = {product_id: best[product_id][1] for product_id in ranked}
    return Slate("for_you", ranked, because, "viewed", "+".join(held.slate_id for held in used), used[0].model_version)


def _without_taken(page: dict[str, Slate], shopper_id: int, ask: Ask | None) -> dict[str, Slate]:
    """Without what the shopper dismissed since the slates were made; what they bought is nothing new either."""
    if not any(slate.ids for slate in page.values()):
        return page
    reasons = {why for slate in page.values() for why in slate.because.values() if why is not None}
    maybe = reasons.union(page["for_you"].ids) if "for_you" in page else reasons
    now = ask(page, maybe) if ask else taken(shopper_id, maybe)
    return {name: _without(slate, now, now.bought & reasons) for name, slate in page.items()}


def _without(slate: Slate, now: Taken, bought: frozenset[str]) -> Slate:
    gone = now.dismissed | now.bought if slate.name == "for_you" else now.dismissed
    ids = slate.ids if gone.isdisjoint(slate.ids) else [one for one in slate.ids if one not in gone]
    return slate._replace(ids=ids, bought=bought)
