"""The catalogue as the model learns it: what ``settings.RECOMMENDER["CATALOGUE"]`` names."""

from collections.abc import Iterator

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
