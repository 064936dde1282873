"""A small shop with known habits: an export written as the shop writes it, and a model really trained on it."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml import artefact, data
from ml.contract import EVENTS_PREFIX, EXPORT_MARKER, PRODUCTS_PREFIX, EventRow, ProductRow
from ml.learn import Hyperparameters, learn
from ml.model import Model

SETTINGS = Hyperparameters(candidates=12)
END = datetime(2026, 11, 20, tzinfo=UTC)
DAYS = 120
SHELVES = {"Breakfast": "Morning", "Pasta": "Dinner", "Baking": "Oven", "Garden": "Outdoors"}
PER_SHELF = 10
SHOPPERS = 60


def product_rows() -> list[ProductRow]:
    """40 products on 4 shelves, p00 … p39; shoppers have one shelf that they like best."""
    rows = []
    for number in range(PER_SHELF * len(SHELVES)):
        category = list(SHELVES)[number // PER_SHELF]
        kind = f"{category} kind {number % 2}"
        rows.append(
            ProductRow(
                product_id=f"p{number:02}", name=f"{kind} no. {number}", department=SHELVES[category],
                category=category, type=kind, brand=f"Brand {number % 3}", size="500 g", price=1.0 + number / 10,
            )
        )  # fmt: skip
    return rows


def event_rows(seed: int = 7) -> list[EventRow]:
    """Each shopper goes shopping every ten days or so, mostly to the same shelf, for products of their habit."""
    generator = random.Random(seed)
    rows = []
    for shopper in range(SHOPPERS):
        shelf = shopper % len(SHELVES)
        day = generator.uniform(0, 10)
        while day < DAYS:
            time = END - timedelta(days=DAYS - day)
            bought = {shelf * PER_SHELF + int(PER_SHELF * generator.random() ** 1.5) for _ in range(5)}
            if generator.random() < 0.3:
                bought.add(generator.randrange(PER_SHELF * len(SHELVES)))
            for number in sorted(bought):
                rows.append(
                    EventRow(
                        shopper=f"s{shopper}", basket=f"b{shopper}-{day:.0f}", product_id=f"p{number:02}",
                        kind="purchase", quantity=1, time=time,
                    )
                )  # fmt: skip
            day += generator.uniform(5, 15)
    return rows


def write_export(
    directory: Path, events: list[EventRow] | None = None, products: list[ProductRow] | None = None
) -> Path:
    """Write an export into ``directory`` and return it."""
    for prefix, rows, types in (
        (EVENTS_PREFIX, events if events is not None else event_rows(), {"time": pa.timestamp("us", tz="UTC")}),
        (PRODUCTS_PREFIX, products if products is not None else product_rows(), {"price": pa.float64()}),
    ):
        (directory / prefix).mkdir(parents=True, exist_ok=True)
        table = pa.table({name: pa.array([dict(row)[name] for row in rows], types.get(name)) for name in rows[0]})
        pq.write_table(table, directory / prefix / "part-0.parquet")
    (directory / EXPORT_MARKER).write_text("{}")
    return directory


def small_model(export: Path, version: str = "small") -> Model:
    return learn(data.read(export), SETTINGS, version)


def train_small(directory: Path, version: str = "small") -> Path:
    """Train on the sample export and write the artefact's files into ``directory``; returns it."""
    export = write_export(directory.parent / f"{directory.name}-export")
    artefact.save(small_model(export, version), directory, ("2026-07-23", "2026-11-20"), {})
    return directory
