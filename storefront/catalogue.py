"""The catalogue as recommender sees it: what ``settings.RECOMMENDER``'s CATALOGUE and KNOWN name."""

from collections.abc import Collection, Iterator

from django.db import connection

from ml.contract import ProductRow
from storefront.models import Product


def product_rows() -> Iterator[ProductRow]:
    """Every visible product, without holding the catalogue in memory."""
    columns = ("product_id", "name", "department", "category", "type", "brand", "size", "price_cents")
    rows = Product.objects.visible().order_by("product_id").values_list(*columns)
    for product_id, name, department, category, type_, brand, size, price_cents in rows.iterator(chunk_size=2_000):
        yield ProductRow(
            product_id=product_id,
            name=name,
            department=department,
            category=category,
            type=type_,
            brand=brand,
            size=size,
            price=price_cents / 100,
        )


def known(product_ids: Collection[str]) -> set[str]:
    """Those that are in the catalogue, hidden ones too. By hand, because clicks and drains ask: see storefront.now."""
    places = ", ".join(["%s"] * len(product_ids))
    if not places:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT product_id FROM storefront_product WHERE product_id IN ({places})",  # noqa: S608 - no values in it
            list(product_ids),
        )
        return {product_id for (product_id,) in cursor.fetchall()}
