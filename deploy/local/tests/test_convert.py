import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from deploy.local import convert
from deploy.local.convert import Converted
from deploy.local.names import OWN_LABEL, Code, Names, readable, readable_size
from ml.contract import EVENT_COLUMNS, PRODUCT_COLUMNS

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MILK = (1, 69, "GROCERY", "Private", "FLUID MILK PRODUCTS", "FLUID MILK WHITE ONLY", "1 GA")
YOGURT = (2, 544, "GROCERY", "National", "YOGURT", "YOGURT NOT MULTI-PACKS", "6 OZ")
TWIN = (3, 544, "GROCERY", "National", "YOGURT", "YOGURT NOT MULTI-PACKS", "6 OZ")
PETROL = (4, 69, "FUEL", "Private", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED", None)
NAMELESS = (5, 2, "MISCELLANEOUS", "National", None, None, None)
RARE = (6, 544, "GROCERY", "National", "YOGURT", "YOGURT NOT MULTI-PACKS", "6 OZ")
UNDESCRIBED = 7


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small journey: ten households buy everything once, the rare product one time less."""
    columns = (
        "product_id",
        "manufacturer_id",
        "department",
        "brand",
        "product_category",
        "product_type",
        "package_size",
    )
    products = [dict(zip(columns, row, strict=True)) for row in (MILK, YOGURT, TWIN, PETROL, NAMELESS, RARE)]
    pa.parquet.write_table(pa.Table.from_pylist(products), tmp_path / "products.parquet")
    lines = [
        line(household, product, quantity=2, value=3.0 if household < 5 else 5.0)
        for household in range(10)
        for product in range(1, UNDESCRIBED + 1)
        if (household, product) != (0, 6)
    ]
    lines += [line(0, 1, quantity=0, value=0.0), line(0, 2, quantity=1, value=0.0, day=31)]
    pa.parquet.write_table(pa.Table.from_pylist(lines), tmp_path / "transactions.parquet")
    return tmp_path


def line(household: int, product: int, quantity: int, value: float, day: int = 1) -> dict[str, Any]:
    return {
        "household_id": household,
        "basket_id": 100 + household,
        "product_id": product,
        "quantity": quantity,
        "sales_value": value,
        "transaction_timestamp": datetime(2017, 12, day, 11, 53, 26),
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_is_left_out_is_counted_by_reason(source: Path, tmp_path: Path) -> None:
    done = convert.convert(source, tmp_path, NOW)
    assert done == Converted(products=3, events=31, shoppers=10, rare=1, unknown=1, not_goods=2, without_quantity=1)


def test_the_files_have_the_contracts_columns(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path, NOW)
    assert tuple(rows(tmp_path / "products.csv")[0]) == (*PRODUCT_COLUMNS, "stock")
    assert tuple(rows(tmp_path / "events.csv")[0]) == EVENT_COLUMNS


def test_a_price_is_the_median_unit_price(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path, NOW)
    prices = {row["product_id"]: float(row["price"]) for row in rows(tmp_path / "products.csv")}
    assert 1.5 <= prices["1"] <= 2.5
    assert prices["2"] > 0  # although it was given away once


def test_the_data_end_today_by_whole_days_and_never_in_the_future(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path, NOW)
    times = {row["time"] for row in rows(tmp_path / "events.csv")}
    assert times == {"2026-11-21T11:53:26Z", "2026-10-22T11:53:26Z"}  # today's 11:53 has not come yet


def test_an_hour_later_they_end_today(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path, NOW.replace(hour=12))
    assert max(row["time"] for row in rows(tmp_path / "events.csv")) == "2026-11-22T11:53:26Z"


def test_the_same_data_gives_the_same_products(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path / "one", NOW)
    convert.convert(source, tmp_path / "two", NOW)
    assert (tmp_path / "one" / "products.csv").read_bytes() == (tmp_path / "two" / "products.csv").read_bytes()


def test_products_of_one_brand_type_and_size_have_names_of_their_own(source: Path, tmp_path: Path) -> None:
    convert.convert(source, tmp_path, NOW)
    names = {row["product_id"]: row["name"] for row in rows(tmp_path / "products.csv")}
    assert names["2"] != names["3"]
    assert names["2"].endswith("Yogurt 6 oz")
    assert names["1"] == f"{OWN_LABEL} Milk 1 gal"


def test_the_real_data_are_found_without_pandas() -> None:
    assert (convert.data_folder() / "transactions.parquet").exists()


def test_every_real_product_gets_a_name_of_its_own(tmp_path: Path) -> None:
    table = pa.parquet.read_table(convert.data_folder() / "products.parquet").slice(0, 30_000)
    named = Names().named([convert._code(row) for row in table.to_pylist()])
    assert len(named) > 25_000
    assert len({product.name for product in named}) == len(named)
    assert all(product.name and product.type and product.category and product.department for product in named)


def test_how_a_thing_is_sold_stands_behind_what_it_is() -> None:
    loose = [
        Code(number, 2, False, "PRODUCE", "TROPICAL FRUIT", "BANANAS", size) for number, size in ((1, ""), (2, ""))
    ]
    assert [product.name for product in Names().named(loose)] == ["Bananas, Loose", "Bananas, Bagged"]


@pytest.mark.parametrize(
    ("code", "says"),
    [("GRAPES WHITE", "White Grapes"), ("CANNING JARSLIDSUTENSILSMIS", "Canning Jars"), ("CORN YELLOW", "Yellow Corn")],
)
def test_a_code_that_no_rule_makes_readable_stands_in_the_table(code: str, says: str) -> None:
    [product] = Names().named([Code(1, 2, False, "PRODUCE", "ANY", code, "")])
    assert product.type == says


def test_a_category_that_the_table_does_not_know_keeps_the_tills_words() -> None:
    [product] = Names().named([Code(9, 544, False, "GROCERY", "FRZN NOODLES", "FRZN NOODLES - SPICY", "3 OZ")])
    assert (product.department, product.category, product.type) == ("Grocery", "Frozen Noodles", "Spicy Frozen Noodles")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AIR CARE - CANDLES", "Candles Air Care"),
        ("FRZN VEG (EXCEPT CORN", "Frozen Vegetable"),
        ("PEAS & ONIONS", "Peas & Onions"),
        ("SALAD/ALL OTHER", "Salad"),
    ],
)
def test_a_till_code_becomes_words(code: str, says: str) -> None:
    assert readable(code) == says


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("20 OZ", "20 oz"), ("12/12 OZ", "12 × 12 oz"), ("6 PK/12 OZ", "6 × 12 oz"), ("1 GA", "1 gal"), ("PT", "1 pt"),
        ("L    10 OZ", "10 oz"), (".14 OZ", "0.14 oz"), ("3-4 LB", "3-4 lb"), ("85 SQ FT", "85 sq ft"),
        ("1 DZ", "1 dozen"), ("CTN", ""), ("MINI", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_size_is_written_as_on_a_label(code: str, says: str) -> None:
    assert readable_size(code) == says


def test_the_crate_that_a_grocer_buys_is_no_shoppers_size() -> None:
    [bananas] = Names().named([Code(1, 2, False, "PRODUCE", "TROPICAL FRUIT", "BANANAS", "40 LB")])
    assert (bananas.name, bananas.size, bananas.brand) == ("Bananas", "", "")


def test_interrupted_writing_leaves_nothing_that_looks_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        Path(str(arguments[1])).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa.csv, "write_csv", full)
    with pytest.raises(OSError, match="No space left"):
        convert.convert(source, tmp_path / "out", NOW)
    assert not list((tmp_path / "out").glob("*.csv"))
