"""A made-up grocer of a real one's size, as the two files that ``manage.py load_shop`` takes."""

import csv
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

PRODUCTS, DEPARTMENTS, CATEGORIES = 20_000, 16, 240
SHOPPERS = 10_000
HOUSEHOLDS = 100  # of them, the first: with a year's purchases each, as the grocery data's households have
YEAR, HISTORY = 600, 20  # purchases of a household and of everybody else
SEED = 7


@dataclass(frozen=True, slots=True)
class Shop:
    """``shoppers`` are the names that the demo's sign-in takes; the first HOUSEHOLDS of them have long histories."""

    product_ids: list[str]
    shoppers: list[str]


def write(folder: Path) -> Shop:
    """products.csv and events.csv; the same ones each time, but for the date."""
    draw = random.Random(SEED)
    shop = Shop([f"{1_000_000 + n}" for n in range(PRODUCTS)], [f"{n:05}" for n in range(SHOPPERS)])
    with (folder / "products.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["product_id", "name", "department", "category", "type", "brand", "size", "price", "stock"])
        for n, product_id in enumerate(shop.product_ids):
            category = n % CATEGORIES
            name = f"Ripe {category} & Co. no. {n}" if n % 7 else f"A longer name with all that a label says, no. {n}"
            out.writerow(
                (product_id, name, f"Department {category % DEPARTMENTS}", f"Category {category}", f"Type {n % 900}",
                 f"Brand {n % 70}", f"{1 + n % 40} OZ", f"{draw.randint(49, 1999) / 100:.2f}",
                 0 if draw.random() < 0.03 else 100_000)
            )  # fmt: skip
    popular = list(accumulate(1 / (n + 10) for n in range(PRODUCTS)))
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    with (folder / "events.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["shopper", "basket", "product_id", "kind", "quantity", "time"])
        for n, shopper in enumerate(shop.shoppers):
            many = YEAR if n < HOUSEHOLDS else HISTORY
            for place, product_id in enumerate(draw.choices(shop.product_ids, cum_weights=popular, k=many)):
                moment = now - timedelta(minutes=place // 10 * 7 * 24 * 60 + place % 10)
                out.writerow((shopper, f"{n}-{place // 10}", product_id, "purchase", 1, f"{moment:%Y-%m-%dT%H:%M:%SZ}"))
    return shop
