"""Exported Parquet tables become arrays: the only module that knows what an export looks like on disk.

An export is what ``recommender.tasks.export_events`` wrote to S3 (``ml.contract``, "Feeding the model"), whether
SageMaker brought it as the channel ``export`` or somebody copied it to a laptop:

    <export>/events/*.parquet  <export>/products/*.parquet  <export>/_SUCCESS
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml.contract import (
    EVENT_COLUMNS,
    EVENTS_PREFIX,
    EXPORT_MARKER,
    MAX_TEXT,
    PRODUCT_COLUMNS,
    PRODUCTS_PREFIX,
)
from ml.errors import MlError
from ml.slates import KIND_NAMES

PURCHASE = KIND_NAMES.index("purchase")
MICROSECONDS_A_DAY = 86_400_000_000

_TEXT = "text"
_NUMBER = "a number"
_WHOLE = "a whole number"
_TIME = "a timestamp"
_TYPES = {"quantity": _WHOLE, "time": _TIME, "price": _NUMBER}  # every other column is text


class DataError(MlError):
    """An export that cannot be learnt from."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The products, one list a column; a product's place in the lists is its code."""

    product_id: list[str]
    name: list[str]
    department: list[str]
    category: list[str]
    type: list[str]
    brand: list[str]
    size: list[str]

    def __len__(self) -> int:
        return len(self.product_id)


@dataclass(frozen=True, slots=True)
class Interactions:
    """One entry an event, in order of time.

    ``shopper``, ``basket`` and ``product`` are codes from 0 (int32), ``kind`` indexes KIND_NAMES (int8) and ``day`` is
    the UTC time in days since 1970 (float64).
    """

    shopper: NDArray[np.int32]
    basket: NDArray[np.int32]
    product: NDArray[np.int32]
    kind: NDArray[np.int8]
    day: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.day)

    def where(self, chosen: NDArray[np.bool_]) -> "Interactions":
        return Interactions(*(getattr(self, column)[chosen] for column in self.__slots__))


@dataclass(frozen=True, slots=True)
class Export:
    """``unknown`` counts the events left out because their product is not in the products table."""

    catalogue: Catalogue
    interactions: Interactions
    unknown: int


def read(directory: Path) -> Export:
    """Read a whole export. Raises DataError where it is incomplete or does not keep the contract."""
    catalogue = read_catalogue(directory)
    events = _table(directory / EVENTS_PREFIX, EVENT_COLUMNS)
    product = pc.index_in(events["product_id"], value_set=pa.array(catalogue.product_id))
    known = pc.is_valid(product)
    unknown = events.num_rows - int(pc.sum(known).as_py())
    if unknown == events.num_rows:
        raise DataError(
            f"all {unknown} events are of products that {directory / PRODUCTS_PREFIX} does not list; "
            "export events and products of one shop together"
        )
    events, product = events.filter(known), product.filter(known)
    interactions = Interactions(
        shopper=_codes(events["shopper"]),
        basket=_codes(events["basket"]),
        product=product.to_numpy().astype(np.int32),
        kind=_kinds(events["kind"]),
        day=_days(events["time"]),
    )
    in_time = np.argsort(interactions.day, kind="stable")
    ordered = Interactions(*(getattr(interactions, column)[in_time] for column in interactions.__slots__))
    return Export(catalogue, ordered, unknown)


def read_catalogue(directory: Path) -> Catalogue:
    """The products alone."""
    if not (directory / EXPORT_MARKER).is_file():
        raise DataError(
            f"{directory} has no {EXPORT_MARKER}: not an export, or one that was cut short; "
            "run `manage.py export_events` and name the folder it wrote"
        )
    return _catalogue(_table(directory / PRODUCTS_PREFIX, PRODUCT_COLUMNS))


def split(export: Export, days: int) -> tuple[Export, Interactions]:
    """Hold the last whole ``days`` out: what precedes them to learn from, and the events to be foretold."""
    day = export.interactions.day
    held_out = day >= np.floor(day[-1]) + 1 - days
    if held_out.all():
        raise DataError(
            f"all events lie in the last {days} days, so nothing precedes them to learn from; "
            "export a longer time or hold fewer days out (--holdout_days)"
        )
    before = replace(export, interactions=export.interactions.where(~held_out))
    return before, export.interactions.where(held_out)


def _table(folder: Path, columns: tuple[str, ...]) -> pa.Table:
    parts = sorted(folder.glob("*.parquet"))
    if not parts:
        raise DataError(f"{folder} holds no .parquet file; run `manage.py export_events` again")
    table = pa.concat_tables([_part(part, columns) for part in parts])
    if not table.num_rows:
        raise DataError(f"{folder} holds no rows: there is nothing to learn from")
    return table


def _part(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        part = pq.ParquetFile(path)
        missing = [column for column in columns if column not in part.schema_arrow.names]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]}; the contract's columns are {', '.join(columns)}")
        table = part.read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not readable as Parquet ({error}); export again") from None
    return pa.table({column: _checked(path, column, table[column]) for column in columns})


def _checked(path: Path, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in the one type that this module works with, or a DataError naming it."""
    wanted = _TYPES.get(column, _TEXT)
    found = values.type
    if wanted == _TEXT and pa.types.is_dictionary(found):
        found = found.value_type
    fits = {
        _TEXT: pa.types.is_string(found) or pa.types.is_large_string(found),
        _WHOLE: pa.types.is_integer(found),
        _NUMBER: pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found),
        _TIME: pa.types.is_timestamp(found) and found.tz is not None,
    }
    if not fits[wanted]:
        zone = " with a time zone" if wanted == _TIME else ""
        raise DataError(f"{path}: column {column} must be {wanted}{zone}, it is {found}")
    if values.null_count and wanted != _NUMBER:
        raise DataError(f"{path}: column {column} has {values.null_count} missing values")
    return values.cast(pa.string()) if wanted == _TEXT else values


def _catalogue(table: pa.Table) -> Catalogue:
    columns = {name: table[name].to_pylist() for name in Catalogue.__slots__}
    product_ids = columns["product_id"]
    bad = next((value for value in product_ids if not 0 < len(value) <= MAX_TEXT), None)
    if bad is not None:
        raise DataError(f"product_id {bad!r:.40} has {len(bad)} characters, allowed are 1 to {MAX_TEXT}")
    if len(set(product_ids)) < len(product_ids):
        twice = Counter(product_ids).most_common(1)[0][0]
        raise DataError(f"product_id {twice!r} is listed twice in {PRODUCTS_PREFIX}; a product has one row")
    return Catalogue(**columns)


def _codes(values: pa.ChunkedArray) -> NDArray[np.int32]:
    encoded = values.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int32)


def _kinds(values: pa.ChunkedArray) -> NDArray[np.int8]:
    codes = pc.index_in(values, value_set=pa.array(KIND_NAMES))
    if codes.null_count:
        bad = values.filter(pc.is_null(codes))[0].as_py()
        raise DataError(f"event kind {bad!r:.40} is unknown, the contract's kinds are {', '.join(KIND_NAMES)}")
    return np.asarray(codes.to_numpy(), dtype=np.int8)


def _days(values: pa.ChunkedArray) -> NDArray[np.float64]:
    microseconds = values.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
    return np.asarray(microseconds, dtype=np.float64) / MICROSECONDS_A_DAY
