"""What holds at this moment, in one statement: products, what lies in the cart, what the shopper has taken.

Every page asks it, so it is written by hand: composing a statement anew takes Django longer than the database takes to
answer it, and so does each further statement. One parameter holds all ids, so that the statement is always the same.
All rows are one text of JSON, which is a fifth cheaper, and SQLite's driver gives up the interpreter at each row.
"""

from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

import orjson
from django.db import connection

from recommender.recommendations import TAKEN, TAKEN_SQLITE, Taken
from storefront.models import OnCard

_COLUMNS = ", ".join(OnCard._fields)
_STATEMENT = f"""
SELECT
(SELECT json_agg(json_build_array({_COLUMNS}))::text FROM storefront_product WHERE product_id = ANY(%(products)s)),
(SELECT json_agg(json_build_array(product_id, quantity) ORDER BY id)::text
 FROM storefront_cartline WHERE cart_id = %(cart_id)s),
({TAKEN})
"""  # noqa: S608 - names of our own
_STATEMENT_SQLITE = f"""
SELECT
(SELECT json_group_array(json_array({_COLUMNS}))
 FROM (SELECT value AS wanted FROM json_each(%(products)s)) CROSS JOIN storefront_product ON product_id = wanted),
(SELECT json_group_array(json_array(product_id, quantity))
 FROM (SELECT product_id, quantity FROM storefront_cartline WHERE cart_id = %(cart_id)s ORDER BY id)),
({TAKEN_SQLITE})
"""  # noqa: S608 - and CROSS, which SQLite takes for "in this order": with IN it sorts the ids first

_on_card = partial(tuple.__new__, OnCard)  # of a row, in C: a page has a hundred of them


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
    lists: dict[str, Any] = {"products": list(product_ids), "maybe_taken": list(maybe_taken)}
    is_sqlite = connection.vendor == "sqlite"
    if is_sqlite:
        lists = {name: orjson.dumps(ids).decode() for name, ids in lists.items()}
    with connection.cursor() as cursor:
        cursor.execute(
            _STATEMENT_SQLITE if is_sqlite else _STATEMENT, {**lists, "cart_id": cart_id, "shopper_id": shopper_id}
        )
        products, lines, told = cursor.fetchone()  # each NULL on PostgreSQL where there is none
    rows = orjson.loads(products or "[]")
    return Now({row[0]: _on_card(row) for row in rows}, dict(orjson.loads(lines or "[]")), Taken.of(told))
