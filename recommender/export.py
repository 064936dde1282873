"""The two tables that feed the model, as Parquet files: the columns are ml.contract's.

Rows stream from the database into parts of a bounded size; nothing needs NumPy, or the whole table in memory.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml import contract
from recommender.models import Event

PART_ROWS = 500_000
GROUP_ROWS = 50_000  # one row group, and all that is in memory at once

_EVENTS = pa.schema(
    [
        ("shopper", pa.string()),
        ("basket", pa.string()),
        ("product_id", pa.string()),
        ("kind", pa.string()),
        ("quantity", pa.int64()),
        ("time", pa.timestamp("us", tz="UTC")),
    ]
)
_PRODUCTS = pa.schema([(name, pa.float64() if name == "price" else pa.string()) for name in contract.PRODUCT_COLUMNS])


def events(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every event that the model learns from, of shoppers who consent: path and rows of each part."""
    rows = (
        Event.objects.filter(shopper__consents=True, kind__in=contract.KINDS)
        .order_by("pk")
        .values_list("shopper__export_key", "basket", "product_id", "kind", "quantity", "time")
        .iterator(chunk_size=GROUP_ROWS)
    )
    return _parts(((str(row[0]), *row[1:]) for row in rows), _EVENTS, folder)


def products(catalogue: Iterable[contract.ProductRow], folder: Path) -> Iterator[tuple[Path, int]]:
    """The catalogue: path and rows of each part."""
    rows = (tuple(row[name] for name in contract.PRODUCT_COLUMNS) for row in catalogue)  # type: ignore[literal-required]
    return _parts(rows, _PRODUCTS, folder)


def _parts(rows: Iterator[tuple[Any, ...]], schema: pa.Schema, folder: Path) -> Iterator[tuple[Path, int]]:
    """At least one part, so that an empty table is a table all the same."""
    number = 0
    while True:
        path = folder / f"part-{number:05d}.parquet"
        count = _write(islice(rows, PART_ROWS), schema, path)
        if count or number == 0:
            yield path, count
        if count < PART_ROWS:
            return
        number += 1


def _write(rows: Iterator[tuple[Any, ...]], schema: pa.Schema, path: Path) -> int:
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, GROUP_ROWS)):
            columns = [pa.array(*column) for column in zip(zip(*group, strict=True), schema.types, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            written += len(group)
    return written
