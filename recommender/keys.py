"""A key names something that has slates: it is the unit of refreshing, and its content says what to ask.

``shopper:<id>``          everything for one shopper
``product:<id>``          what goes with one product
``cart:<ids>``            what completes a cart; the ids are the key, so it belongs to nobody
``popular:<category>``    what sells, in one category or (empty) overall
"""

from collections.abc import Collection
from typing import Literal, cast, get_args

Family = Literal["shopper", "product", "cart", "popular"]
_FAMILIES = frozenset(get_args(Family))

# A line end cannot be typed into a CSV cell or an address by accident, and so is in no product's id.
_BETWEEN_IDS = "\n"
# A cart past this is a shopping list: its newest corner of the catalogue says no more about what is missing.
_MOST_IN_CART = 100


def shopper(shopper_id: int) -> str:
    return f"shopper:{shopper_id}"


def product(product_id: str) -> str:
    return f"product:{product_id}"


def cart(product_ids: Collection[str]) -> str:
    return "cart:" + _BETWEEN_IDS.join(sorted(set(product_ids))[:_MOST_IN_CART])


def popular(category: str = "") -> str:
    return f"popular:{category}"


def parse(key: str) -> tuple[Family, str]:
    """Family and content of a key. Raises ValueError for one that was not made here."""
    family, separator, content = key.partition(":")
    if not separator or family not in _FAMILIES:
        raise ValueError(f"not a key: {key!r:.80}")
    return cast(Family, family), content


def in_cart(content: str) -> list[str]:
    return content.split(_BETWEEN_IDS)
