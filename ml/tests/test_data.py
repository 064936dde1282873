"""An export is read whole or refused with its cause."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml import data
from ml.contract import EventRow, Kind
from ml.data import DataError
from ml.slates import KIND_NAMES
from ml.tests import samples

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def event(product_id: str = "p00", shopper: str = "s1", time: datetime = NOON, kind: Kind = "purchase") -> EventRow:
    return EventRow(shopper=shopper, basket="b1", product_id=product_id, kind=kind, quantity=1, time=time)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return samples.write_export(tmp_path, [event(), event("p01", "s2")])


def test_events_become_codes_in_order_of_time(tmp_path: Path) -> None:
    later = datetime(2026, 11, 2, tzinfo=UTC)
    samples.write_export(tmp_path, [event("p05", "s1", later, kind="view"), event("p03", "s2")])

    export = data.read(tmp_path)

    seen = export.interactions
    assert [export.catalogue.product_id[code] for code in seen.product] == ["p03", "p05"]
    assert [KIND_NAMES[code] for code in seen.kind] == ["purchase", "view"]
    assert seen.day[1] - seen.day[0] == pytest.approx(0.5)
    assert seen.shopper[0] != seen.shopper[1]


def test_events_of_unknown_products_are_skipped_and_counted(tmp_path: Path) -> None:
    samples.write_export(tmp_path, [event(), event("gone"), event("gone too")])

    export = data.read(tmp_path)

    assert (export.unknown, len(export.interactions)) == (2, 1)


def test_several_parts_are_one_table(small: Path) -> None:
    events = small / "events"
    rewritten(events / "part-0.parquet", lambda table: table)
    pq.write_table(pq.read_table(events / "part-0.parquet"), events / "part-1.parquet")

    assert len(data.read(small).interactions) == 4


def dropped(column: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([column])


def cast(column: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(column), column, values)


BROKEN: list[tuple[str, Callable[[pa.Table], pa.Table], str]] = [
    ("events", dropped("basket"), "lacks the column basket"),
    ("products", dropped("type"), "lacks the column type"),
    ("events", cast("quantity", pa.array(["1", "2"])), "column quantity must be a whole number, it is string"),
    ("events", cast("time", pa.array([NOON.replace(tzinfo=None)] * 2)), "must be a timestamp with a time zone"),
    ("events", cast("shopper", pa.array([1, 2])), "column shopper must be text, it is int64"),
    ("events", cast("shopper", pa.array(["s1", None])), "column shopper has 1 missing values"),
    ("events", cast("kind", pa.array(["purchase", "stolen"])), "kind 'stolen' is unknown"),
    ("events", lambda table: table.slice(0, 0), "holds no rows"),
    ("products", cast("product_id", pa.array(["p00"] * 40)), "product_id 'p00' is listed twice"),
    ("products", cast("product_id", pa.array([""] + [f"q{n}" for n in range(39)])), "allowed are 1 to 128"),
    ("products", cast("product_id", pa.array([f"q{n}" for n in range(40)])), "all 2 events are of products that"),
]


@pytest.mark.parametrize(("table", "change", "says"), BROKEN, ids=[says for _, _, says in BROKEN])
def test_a_broken_export_says_what_is_wrong(
    small: Path, table: str, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    rewritten(small / table / "part-0.parquet", change)

    with pytest.raises(DataError, match=says):
        data.read(small)


def test_an_export_that_was_cut_short_is_refused(small: Path) -> None:
    (small / "_SUCCESS").unlink()

    with pytest.raises(DataError, match="has no _SUCCESS"):
        data.read(small)


def test_a_truncated_file_is_refused_by_name(small: Path) -> None:
    part = small / "events" / "part-0.parquet"
    part.write_bytes(part.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"part-0\.parquet is not readable as Parquet"):
        data.read(small)


def test_the_split_holds_out_the_last_whole_days(export: Path) -> None:
    whole = data.read(export)

    before, held_out = data.split(whole, 28)

    cut = np.floor(whole.interactions.day[-1]) + 1 - 28
    assert before.interactions.day.max() < cut <= held_out.day.min()
    assert len(before.interactions) + len(held_out) == len(whole.interactions)


def test_a_history_shorter_than_the_held_out_days_is_refused(small: Path) -> None:
    with pytest.raises(DataError, match="all events lie in the last 28 days"):
        data.split(data.read(small), 28)
