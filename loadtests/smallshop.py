"""A small made-up shop whose shoppers have habits, as the two files that ``manage.py load_shop`` takes."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

SHELVES, PER_SHELF = 8, 30
SHOPPERS, DAYS = 80, 120
SEED = 7


def write(folder: Path) -> None:
    """products.csv and events.csv: everybody buys mostly from a shelf of their own, so that there is much to learn."""
    draw, now = random.Random(SEED), datetime.now(UTC).replace(microsecond=0)
    with (folder / "products.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["product_id", "name", "department", "category", "type", "brand", "size", "price", "stock"])
        for number in range(SHELVES * PER_SHELF):
            shelf = number // PER_SHELF
            out.writerow(
                (f"p{number:03}", f"Good thing no. {number}", f"Department {shelf % 4}", f"Shelf {shelf}",
                 f"Kind {shelf}-{number % 3}", f"Brand {number % 5}", "500 g", f"{1 + number / 100:.2f}", 100_000)
            )  # fmt: skip
    with (folder / "events.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["shopper", "basket", "product_id", "kind", "quantity", "time"])
        for shopper in range(SHOPPERS):
            day = draw.uniform(1, 10)
            while day < DAYS:
                bought = {shopper % SHELVES * PER_SHELF + int(PER_SHELF * draw.random() ** 1.5) for _ in range(6)}
                bought.add(draw.randrange(SHELVES * PER_SHELF))
                moment = f"{now - timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
                for number in sorted(bought):
                    out.writerow((f"s{shopper}", f"b{shopper}-{day:.0f}", f"p{number:03}", "purchase", 1, moment))
                day += draw.uniform(4, 12)
