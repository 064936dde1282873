"""From slates to panels: ranked ids become products that can be bought, each with the reason it is there.

A slate may be minutes old. What is shown must still be true, so stock, hidden products, the cart and what was put
aside are checked here, at render; that is why a slate carries more ids than a panel shows.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import reverse

from recommender import recommendations
from recommender.recommendations import Slate, Taken
from storefront.models import OnCard, Product, bare_name
from storefront.visitor import Visitor

SHOWN = {"for_you": 12, "again": 6, "together": 4, "similar": 8, "complete": 4, "popular": 12}
RECENT_SHOWN = 8
RECENT = "recent"  # no slate of the model's: what this browser keeps of what was looked at
SPARE = 4  # ids fetched beyond those shown; only where these do not suffice, a second query fetches the rest
TITLES = {
    "for_you": "Recommended for you",
    "again": "Buy it again",
    "together": "Goes well with this",
    "similar": "Similar products",
    "complete": "You may have forgotten",
    "popular": "Popular right now",
    RECENT: "You looked at these",
}
# The panel's own words on how personal it is, by the tier that filled it.
NOTES = {
    "fresh": "From what you looked at and bought.",
    "stale": "From what you looked at and bought.",
    "viewed": "From what you last looked at.",
    "category": "What other shoppers take from these shelves. Nothing personal in it.",
    "popular": "What other shoppers like best just now. Nothing personal in it.",
}

POLLS = (300, 400, 600, 700)  # milliseconds before each look for a newer slate: four looks in two seconds, then peace
REASONED = {"for_you", "again", "complete"}  # in the others, the title is the reason
NAMED = {"for_you", "complete"}  # whose reasons name a product
PERSONAL = {"fresh", "stale", "viewed"}  # only these are worth swapping in under a shopper's eyes


class Card(NamedTuple):
    product: Product | OnCard
    position: int = 0
    because: str = ""
    in_cart: int = 0


class Panel(NamedTuple):
    """A slate's products, with its stamps: without them on impressions and clicks the loop does not close."""

    name: str
    title: str
    note: str
    cards: list[Card]
    slate: Slate
    poll: str = ""  # where to ask for a newer one; empty when none is expected
    delay: int = 0  # milliseconds before asking
    others: str = ""  # a page whose panel shows the slate's next products; empty when these are all

    @property
    def reasoned(self) -> bool:
        """Whether its cards keep a place for a reason, given or not: a panel that is swapped must not change height."""
        return self.name in REASONED


def for_page(
    visitor: Visitor,
    names: Sequence[str],
    product: Product | None = None,
    category: str | None = None,
    awaits: bool = False,
    seed: str | None = None,
    skipped: int = 0,
) -> dict[str, Panel]:
    """Every panel of a page, by name, in the order of ``names``; one that would be empty is left out.

    One round trip to Redis and one query for the products, however many panels. No product stands in two of them.
    ``awaits`` says that this page is about to report a view, so that a newer slate may be on its way. ``seed`` is the
    id of a product that is not the page's own, whose similar products are wanted. ``skipped`` products of "for_you"
    were seen and others are asked for.
    """
    page = _Page(visitor, names, product, seed, skipped)
    slates = recommendations.for_page(
        shopper_id=visitor.shopper_id,
        viewed=visitor.viewed[:3],
        product_id=product.product_id if product else seed,
        cart=visitor.cart if "complete" in names else (),
        category=category,
        names=page.ranked,
        ask=page.ask,
    )
    panels = page.panels(slates)
    if "for_you" in panels:
        panels["for_you"] = _with_others(panels["for_you"], product, skipped)
        if not skipped and _may_change(visitor, panels["for_you"].slate, awaits):
            panels["for_you"] = _with_poll(panels["for_you"], 1, product)
    return panels


def listing(visitor: Visitor, products: Sequence[Product]) -> list[Card]:
    """Cards of a page of products that no slate ranked."""
    cart = visitor.cart
    return [Card(product, in_cart=cart.get(product.product_id, 0)) for product in products]


def reason(visitor: Visitor, because: OnCard | None, slate: Slate) -> str:
    """One true sentence on why a product is shown. Whether it was bought or seen is said only where it is known."""
    name = slate.name
    if name == "again":
        return "You bought this before"
    if because is None or name not in NAMED:
        return ""
    what = bare_name(because)  # a card has two lines for it
    if because.product_id in visitor.cart:
        return f"Goes with {what} in your cart"
    if because.product_id in visitor.viewed:
        return f"Because you looked at {what}"
    if because.product_id in slate.bought:
        return f"Because you bought {what}"
    return f"Because of {what}"


def newer(visitor: Visitor, seen: str, look: int, product: Product | None) -> Panel | None:
    """The "Recommended for you" panel anew, if by now it is a personal one other than the one seen."""
    slates = recommendations.for_page(shopper_id=visitor.shopper_id, viewed=visitor.viewed[:3], names={"for_you"})
    if slates["for_you"].source not in PERSONAL or slates["for_you"].slate_id == seen:
        return None
    # With the page's other panels, so that no product comes to stand in two of them.
    panel = for_page(visitor, ["together", "similar", "for_you"] if product else ["for_you"], product).get("for_you")
    return _with_poll(panel, look + 1, product) if panel and panel.poll else panel


def poll_address(seen: str, look: int, product_id: str) -> str:
    return f"{_address('panel')}?{urlencode({'seen': seen, 'n': look, 'at': product_id})}"


@cache
def _address(name: str) -> str:
    return reverse(name)


class _Page:
    """What one page's panels are made of. A known shopper's page asks the database before their slates are final."""

    def __init__(
        self, visitor: Visitor, names: Sequence[str], product: Product | None, seed: str | None, skipped: int
    ) -> None:
        self.visitor, self.names, self.seed, self.skipped = visitor, names, seed, skipped
        self.ranked = [name for name in names if name != RECENT]
        self.hidden = {*visitor.dismissed, *((product.product_id,) if product else ())}
        recent = [one for one in visitor.viewed if product is None or one != product.product_id]
        self.recent = recent[:RECENT_SHOWN] if RECENT in names else []
        self.found: dict[str, OnCard] | None = None

    def ask(self, slates: Mapping[str, Slate], maybe_taken: Collection[str]) -> Taken:
        """What the shopper has taken; the products that will most likely be shown are in the same query.

        Less is shown than the slates hold by now, so whatever comes to be shown is among these, unless they run short.
        """
        return self._look(_first(self._wanted(slates)), slates, maybe_taken)

    def panels(self, slates: Mapping[str, Slate]) -> dict[str, Panel]:
        """By name, in the order of the page's names, without the empty ones."""
        wanted = self._wanted(slates)
        first = _first(wanted)
        if self.found is None:
            self._look(first, slates)
        found: dict[str, OnCard] = self.found or {}
        cards = _cards(wanted, found, self.visitor, slates)
        if any(len(cards[name]) < SHOWN[name] and len(first[name]) < len(wanted[name]) for name in self.ranked):
            found |= self.visitor.look(_ids(wanted, slates) - found.keys()).products
            cards = _cards(wanted, found, self.visitor, slates)
        cards[RECENT] = _recent(self.visitor, [found[one] for one in self.recent if one in found])
        title = partial(_title, seed=found.get(self.seed or ""))
        return {
            name: Panel(name, title(name), _note(name, slates), cards[name], slates.get(name, Slate(name)))
            for name in self.names
            if cards[name]
        }

    def _wanted(self, slates: Mapping[str, Slate]) -> dict[str, Sequence[str]]:
        """Ids by panel: those that this browser has not put aside, after those that were seen before."""
        wanted: dict[str, Sequence[str]] = {}
        for name in self.ranked:
            ids = slates[name].ids
            if name == "for_you" and self.skipped and ids:
                start = self.skipped % len(ids)
                ids = [*ids[start:], *ids[:start]]
            wanted[name] = ids if self.hidden.isdisjoint(ids) else [one for one in ids if one not in self.hidden]
        return wanted

    def _look(
        self, first: Mapping[str, Sequence[str]], slates: Mapping[str, Slate], maybe_taken: Collection[str] = ()
    ) -> Taken:
        ids = {*_ids(first, slates), *self.recent, *((self.seed,) if self.seed else ())}
        now = self.visitor.look(ids, maybe_taken)
        self.found = now.products
        return now.taken


def _recent(visitor: Visitor, products: Sequence[OnCard]) -> list[Card]:
    """What was looked at is looked for again, so neither the cart nor another panel takes it away."""
    cart = visitor.cart
    return [Card(one, in_cart=cart.get(one.product_id, 0)) for one in products if not one.hidden]


def _title(name: str, seed: OnCard | None) -> str:
    return f"Because you looked at {seed.name}" if seed and name == "similar" else TITLES[name]


def _with_poll(panel: Panel, look: int, product: Product | None) -> Panel:
    if look > len(POLLS):
        return panel._replace(poll="")
    address = poll_address(panel.slate.slate_id, look, product.product_id if product else "")
    return panel._replace(poll=address, delay=POLLS[look - 1])


def _with_others(panel: Panel, product: Product | None, skipped: int) -> Panel:
    """With the way on to the slate's next products, and after the last ones back to the first."""
    after, most = skipped + SHOWN[panel.name], len(panel.slate.ids)
    if most <= SHOWN[panel.name]:
        return panel
    page = product.get_absolute_url() if product else _address("home")
    return panel._replace(others=f"{page}?others={after}" if after < most else page)


def _may_change(visitor: Visitor, slate: Slate, awaits: bool) -> bool:
    if visitor.consent == "no":
        return False
    if awaits:
        return True
    if visitor.shopper_id is not None:
        return slate.source != "fresh"
    return bool(visitor.viewed) and slate.source not in PERSONAL


def _first(wanted: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Of each panel what it will most likely show: neither what an earlier one shows nor the long rest."""
    earlier: set[str] = set()
    first: dict[str, Sequence[str]] = {}
    for name, ids in wanted.items():
        first[name] = list(islice((one for one in ids if one not in earlier), SHOWN[name] + SPARE))
        earlier.update(first[name][: SHOWN[name]])
    return first


def _ids(wanted: Mapping[str, Sequence[str]], slates: Mapping[str, Slate]) -> set[str]:
    """Of the products, and of those that their reasons name."""
    ids = set().union(*wanted.values())
    for name in NAMED & wanted.keys():
        ids.update(filter(None, map(slates[name].because.get, wanted[name])))
    return ids


def _cards(
    wanted: Mapping[str, Sequence[str]],
    found: Mapping[str, OnCard],
    visitor: Visitor,
    slates: Mapping[str, Slate],
) -> dict[str, list[Card]]:
    """Cards by panel, of what can be bought and is not in the cart; what stands in a panel stands in no later one."""
    shown = {*visitor.cart}
    cards: dict[str, list[Card]] = {}
    for name, ids in wanted.items():
        slate = slates[name]
        cards[name] = []
        for product_id in ids:
            product = found.get(product_id)
            if product is None or not product.can_be_bought or product_id in shown:
                continue
            because = found.get(slate.because[product_id] or "")
            cards[name].append(Card(product, len(cards[name]) + 1, reason(visitor, because, slate)))
            if len(cards[name]) == SHOWN[name]:
                break
        shown.update(card.product.product_id for card in cards[name])
    return cards


def _note(name: str, slates: Mapping[str, Slate]) -> str:
    return NOTES.get(slates[name].source, "") if name == "for_you" else ""
