"""What holds at this moment, in one statement: products, what lies in the cart, what the shopper has taken.

Every page asks it, so it is written by hand: composing a statement anew takes Django longer than the database takes to
answer it, and so does each further statement. One parameter holds all ids, as JSON: of a list, Django on PostgreSQL
quotes each id into the statement, for a quarter of what all of this costs there. All products come as one text: rows of
their own cost half as much again, and SQLite's driver gives up the interpreter at each.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

import orjson
from django.db import connection

from recommender.recommendations import TAKEN, TAKEN_SQLITE, Taken
from storefront.models import OnCard

_COLUMNS = ", ".join(OnCard._fields)
_STATEMENT = f"""
SELECT
(SELECT string_agg(json_build_array({_COLUMNS})::text, chr(10))
 FROM storefront_product WHERE product_id = ANY(ARRAY(SELECT json_array_elements_text(%(products)s)))),
(SELECT json_agg(json_build_array(product_id, quantity) ORDER BY id)::text
 FROM storefront_cartline WHERE cart_id = %(cart_id)s),
({TAKEN})
"""  # noqa: S608 - names of our own
_STATEMENT_SQLITE = f"""
SELECT
(SELECT group_concat(json_array({_COLUMNS}), char(10))
 FROM (SELECT value AS wanted FROM json_each(%(products)s)) CROSS JOIN storefront_product ON product_id = wanted),
(SELECT json_group_array(json_array(product_id, quantity))
 FROM (SELECT product_id, quantity FROM storefront_cartline WHERE cart_id = %(cart_id)s ORDER BY id)),
({TAKEN_SQLITE})
"""  # noqa: S608 - and CROSS, which SQLite takes for "in this order": with IN it sorts the ids first

KEPT = 30_000  # of one process: at most twenty-five megabytes


@lru_cache(maxsize=KEPT)
def _on_card(row: str) -> OnCard:
    """Known by all that the row says, so it is never stale: another price is another row."""
    return OnCard._make(orjson.loads(row))


class Now(NamedTuple):
    products: dict[str, OnCard]  # by id; what nothing bears is absent
    cart: dict[str, int]  # product_id → quantity, in the order in which they were put there
    taken: Taken


def look(
    product_ids: Collection[str] = (),
    cart_id: int = 0,
    shopper_id: int | None = None,
    maybe_taken: Collection[str] = (),
) -> Now:
    """These products, this cart, and which of ``maybe_taken`` the shopper has bought, with all that they dismissed.

    No cart has the number 0, and nobody the number None. Nothing is asked where there is nothing to look at.
    """
    if not product_ids and not cart_id and not maybe_taken:
        return Now({}, {}, Taken.of(None))
    with connection.cursor() as cursor:
        cursor.execute(
            _STATEMENT_SQLITE if cursor.db.vendor == "sqlite" else _STATEMENT,
            {
                "products": orjson.dumps(list(product_ids)).decode(),
                "cart_id": cart_id,
                "shopper_id": shopper_id,
                "maybe_taken": orjson.dumps(list(maybe_taken)).decode(),
            },
        )
        rows, lines, told = cursor.fetchone()  # each NULL on PostgreSQL where there is none, on SQLite the rows alone
    # Inside a row JSON writes the end of a line as \n, two characters: a real one ends a row.
    products = {card[0]: card for card in map(_on_card, rows.split("\n"))} if rows else {}
    return Now(products, dict(orjson.loads(lines or "[]")), Taken.of(told))
