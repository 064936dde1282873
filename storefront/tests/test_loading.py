"""The door that every shop's data comes through: right files come in whole, wrong ones leave no trace."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from ml.contract import EVENT_COLUMNS, PRODUCT_COLUMNS
from recommender import events, privacy
from storefront import loading, strictcsv
from storefront.models import Account, Product

pytestmark = pytest.mark.django_db

PRODUCT = {
    "product_id": "1",
    "name": "Tomato soup",
    "department": "Food cupboard",
    "category": "Soup",
    "type": "Condensed soup",
    "brand": "Acme",
    "size": "10.5 oz",
    "price": "1.29",
}
EVENT = {
    "shopper": "900",
    "basket": "b1",
    "product_id": "1",
    "kind": "purchase",
    "quantity": "2",
    "time": "2026-01-31T17:45:00Z",
}


def csv_text(*rows: dict[str, str]) -> str:
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n"


@pytest.fixture
def products(tmp_path: Path) -> Path:
    path = tmp_path / "products.csv"
    path.write_text(csv_text(PRODUCT, PRODUCT | {"product_id": "2", "name": "Milk", "price": "0.99"}))
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    later = {"product_id": "2", "quantity": "1", "time": "2026-02-01T09:00:00+00:00"}
    other = {"shopper": "901", "kind": "view", "basket": ""}
    path.write_text(csv_text(EVENT, EVENT | later, EVENT | other))
    return path


def load_shop(**files: Path) -> str:
    out = StringIO()
    call_command("load_shop", **files, stdout=out)
    return out.getvalue()


def refusal(**files: Path) -> str:
    with pytest.raises(CommandError) as refused:
        load_shop(**files)
    return str(refused.value)


def assert_loaded_or_refused(**files: Path) -> None:
    """And nothing else: any other exception is a traceback on somebody's terminal."""
    refused = ""
    try:
        load_shop(**files)
    except CommandError as error:
        refused = str(error)
    assert not refused or "some.csv" in refused


# --- What is right comes in


def test_products_and_events_come_in_together(products: Path, history: Path) -> None:
    told = load_shop(products=products, events=history)
    assert "2 products and 3 events of 2 shoppers" in told
    soup = Product.objects.get(product_id="1")
    assert (soup.name, soup.price_cents, soup.size, soup.popularity) == ("Tomato soup", 129, "10.5 oz", 1)
    account = Account.objects.get(user__username="shopper-900")
    assert account.shopper_id is not None
    assert privacy.is_in(account.shopper_id)
    newest, oldest = events.history(account.shopper_id)
    assert (newest.product_id, newest.time) == ("2", datetime(2026, 2, 1, 9, tzinfo=UTC))
    assert (oldest.product_id, oldest.kind) == ("1", "purchase")


def test_loading_the_same_products_again_updates_them_and_keeps_what_was_not_in_the_file(products: Path) -> None:
    load_shop(products=products)
    Product.objects.filter(product_id="1").update(stock=3, hidden=True, popularity=7)
    products.write_text(csv_text(PRODUCT | {"name": "Tomato soup by a new recipe", "price": "1.5"}))
    load_shop(products=products)
    soup = Product.objects.get(product_id="1")
    assert (soup.name, soup.price_cents) == ("Tomato soup by a new recipe", 150)
    assert (soup.stock, soup.hidden, soup.popularity) == (3, True, 7)
    assert Product.objects.filter(product_id="2").exists()


def test_a_stock_column_sets_the_stock(products: Path) -> None:
    products.write_text(csv_text(PRODUCT | {"stock": "17"}))
    load_shop(products=products)
    assert Product.objects.get(product_id="1").stock == 17


def test_without_a_stock_column_new_products_can_be_bought_and_the_command_says_so(products: Path) -> None:
    assert "start with 100 in stock" in load_shop(products=products)
    assert Product.objects.get(product_id="1").stock == 100


def test_events_may_come_later_than_the_products_they_name(products: Path, history: Path) -> None:
    load_shop(products=products)
    assert "0 products and 3 events" in load_shop(events=history)


def test_columns_may_stand_in_any_order_and_a_byte_order_mark_is_no_harm(products: Path) -> None:
    turned = dict(reversed(PRODUCT.items()))
    products.write_text("\ufeff" + csv_text(turned), encoding="utf-8")
    load_shop(products=products)
    assert Product.objects.get(product_id="1").category == "Soup"


def test_windows_line_ends_quotes_and_empty_lines_are_read_as_spreadsheets_write_them(products: Path) -> None:
    row = ",".join(f'"{value}"' for value in (PRODUCT | {"name": 'Soup, ""hot""'}).values())
    products.write_bytes(f"{','.join(PRODUCT)}\r\n{row}\r\n\r\n".encode())
    load_shop(products=products)
    assert Product.objects.get(product_id="1").name == 'Soup, "hot"'


# --- Who comes in


def test_in_the_demo_a_loaded_shopper_is_a_demo_shopper_with_a_label(
    products: Path, history: Path, settings: Settings
) -> None:
    settings.DEMO = True
    load_shop(products=products, events=history)
    account = Account.objects.get(household="Household 900")
    assert account.is_demo
    assert not account.user.has_usable_password()


def test_elsewhere_a_loaded_shopper_is_no_demo_shopper_and_nobody_can_sign_in_as_them(
    products: Path, history: Path, settings: Settings
) -> None:
    settings.DEMO = False
    load_shop(products=products, events=history)
    assert not Account.objects.filter(is_demo=True).exists()
    assert not any(user.has_usable_password() for user in User.objects.all())


def test_a_history_is_loaded_once(products: Path, history: Path) -> None:
    load_shop(products=products, events=history)
    told = refusal(products=products, events=history)
    assert "shopper '900' and 1 others of this file were loaded before" in told
    assert Product.objects.get(product_id="1").popularity == 1
    assert Account.objects.count() == 2


# --- What is wrong stays out, and is named


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("product_id", "", "must be 1 to 128 letters"),
        ("product_id", "a/b", "must be 1 to 128 letters"),
        ("product_id", "x" * 129, "must be 1 to 128 letters"),
        ("name", " ", "must be 1 to 200 printable characters"),
        ("name", "x" * 201, "must be 1 to 200 printable characters"),
        ("name", "So\x07up", "must be 1 to 200 printable characters"),
        ("category", "", "must be 1 to 128 printable characters"),
        ("price", "-1.00", "must be an amount such as 3.49"),
        ("price", "nan", "must be an amount such as 3.49"),
        ("price", "1e9", "must be an amount such as 3.49"),
        ("price", "1.299", "must be an amount such as 3.49"),
        ("price", "9999999", "at most 1,000,000"),
        ("price", "", "must be an amount such as 3.49"),
        ("price", "١", "must be an amount such as 3.49"),
    ],
)
def test_a_wrong_product_field_is_named_by_file_line_and_column(
    products: Path, column: str, value: str, told: str
) -> None:
    products.write_text(csv_text(PRODUCT, PRODUCT | {"product_id": "2"} | {column: value}), encoding="utf-8")
    message = refusal(products=products)
    assert f"products.csv, line 3, column {column}: {value!r:.60}" in message
    assert told in message
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("shopper", "", "must be 1 to 128 printable characters"),
        ("basket", "x" * 129, "must be at most 128 printable characters"),
        ("product_id", "3", "is no product of the shop"),
        ("kind", "impression", "must be one of cart, dismiss, purchase, view"),
        ("quantity", "0", "must be a whole number from 1 to 100,000"),
        ("quantity", "-2", "must be a whole number from 1 to 100,000"),
        ("quantity", "1.5", "must be a whole number from 1 to 100,000"),
        ("quantity", "100001", "must be a whole number from 1 to 100,000"),
        ("time", "yesterday", "must be ISO 8601 in UTC"),
        ("time", "2026-01-31T17:45:00", "must be ISO 8601 in UTC"),
        ("time", "2026-01-31T17:45:00+02:00", "must be ISO 8601 in UTC"),
        ("time", "1969-12-31T23:59:59Z", "is before 1970"),
        ("time", "2999-01-01T00:00:00Z", "is in the future"),
    ],
)
def test_a_wrong_event_field_is_named_and_not_even_the_products_are_loaded(
    products: Path, history: Path, column: str, value: str, told: str
) -> None:
    history.write_text(csv_text(EVENT, EVENT | {column: value}))
    message = refusal(products=products, events=history)
    assert f"events.csv, line 3, column {column}: {value!r:.60}" in message
    assert told in message
    assert not Product.objects.exists()
    assert not User.objects.exists()


def test_a_product_that_is_there_twice_is_named_with_both_lines(products: Path) -> None:
    products.write_text(csv_text(PRODUCT, PRODUCT))
    assert "line 3, column product_id: '1' is on line 2 already" in refusal(products=products)


def test_a_wrong_line_stays_wrong_after_a_right_one_like_it(products: Path, history: Path) -> None:
    """Fields that were right once are not examined again: a wrong one must not become known by its neighbours."""
    wrong = EVENT | {"shopper": "902", "time": "2999-01-01T00:00:00Z"}
    history.write_text(csv_text(EVENT, wrong, wrong, EVENT | {"basket": "b2"}))
    message = refusal(products=products, events=history)
    assert "line 3, column time" in message
    assert "line 4, column time" in message
    assert "line 5" not in message


def test_the_header_is_told_what_is_missing_unknown_and_twice(products: Path) -> None:
    products.write_text("product_id,name,name,colour\n1,Soup,Soup,red\n")
    message = refusal(products=products)
    assert "products.csv, line 1" in message
    for told in ("'colour' is not a column", "name is there twice", "price is missing", "may name stock"):
        assert told in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "products.csv: is empty: its first line must name the columns product_id, name"),
        (csv_text(PRODUCT).encode().split(b"\n")[0] + b"\n", "has a header and no rows"),
        (csv_text(PRODUCT).encode("utf-16"), "line 1: is not UTF-8 (byte 0xff)"),
        (csv_text(PRODUCT | {"name": "Crème"}).encode("latin-1"), "line 2: is not UTF-8 (byte 0xe8)"),
        (csv_text(PRODUCT | {"name": "So\0up"}).encode(), "line 2: holds a NUL byte"),
        (csv_text(PRODUCT).encode() + b"1,2,3\n", "line 3: has 3 fields where the header has 8"),
        (csv_text(PRODUCT).encode() + b'"1,2', "line 3: is not CSV"),
    ],
)
def test_a_file_that_is_no_table_is_told_why(products: Path, content: bytes, told: str) -> None:
    products.write_bytes(content)
    assert told in refusal(products=products)


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    assert "none.csv: cannot be read: No such file or directory" in refusal(products=tmp_path / "none.csv")
    assert "cannot be read: Is a directory" in refusal(products=tmp_path)


def test_the_command_needs_a_file() -> None:
    with pytest.raises(CommandError, match="Name a file"):
        call_command("load_shop")


def test_reading_stops_after_twenty_problems(products: Path) -> None:
    products.write_text(csv_text(*(PRODUCT | {"product_id": str(number), "price": "free"} for number in range(500))))
    message = refusal(products=products)
    assert message.count("column price") == strictcsv.MOST_PROBLEMS
    assert "reading stopped here" in message


class Endless:
    """A file of a gigabyte, of which only what is asked for ever exists."""

    def __init__(self, start: bytes, filling: bytes) -> None:
        self.start, self.filling, self.given = start, filling, 0

    def __enter__(self) -> "Endless":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int) -> bytes:
        self.given += size
        assert self.given < 8_000_000, "reading goes on and on"
        given, self.start = (self.start + self.filling * (size // len(self.filling) + 1))[:size], self.start[size:]
        return given


@pytest.mark.parametrize(
    ("filling", "told"),
    [(b"A", "longer than 65,536 characters"), (b"A\n", "reading stopped"), (b"\0", "NUL"), (b"\xff", "not UTF-8")],
)
@pytest.mark.parametrize("header", [b"", csv_text(PRODUCT).encode()])
def test_a_gigabyte_of_garbage_is_refused_after_its_beginning(
    products: Path, monkeypatch: pytest.MonkeyPatch, header: bytes, filling: bytes, told: str
) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: Endless(header, filling))
    message = refusal(products=products)
    assert told in message or "is not a column" in message


def test_a_file_that_changes_between_check_and_load_is_refused_whole(
    products: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = loading._check_shoppers_are_new

    def then_somebody_writes(table: strictcsv.Table, keys: list[str]) -> None:
        check(table, keys)
        history.write_text(csv_text(EVENT | {"shopper": "somebody else"}))

    monkeypatch.setattr(loading, "_check_shoppers_are_new", then_somebody_writes)
    assert "changed while it was being loaded" in refusal(products=products, events=history)
    assert not Product.objects.exists()
    assert not User.objects.exists()


def test_what_goes_wrong_at_the_last_moment_takes_everything_back(
    products: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(sold: object) -> None:
        from django.db import OperationalError

        raise OperationalError("database or disk is full")

    monkeypatch.setattr(loading, "_write_popularity", full_disk)
    assert "database or disk is full" in refusal(products=products, events=history)
    assert not Product.objects.exists()
    assert not User.objects.exists()


@given(content=st.binary(max_size=400), header=st.sampled_from(["", "products", "events"]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_are_they_load_or_are_refused_in_words(tmp_path: Path, content: bytes, header: str) -> None:
    columns = {"": "", "products": ",".join(PRODUCT_COLUMNS) + "\n", "events": ",".join(EVENT_COLUMNS) + "\n"}
    path = tmp_path / "some.csv"
    path.write_bytes(columns[header].encode() + content)
    for files in ({"products": path}, {"events": path}):
        assert_loaded_or_refused(**files)


FIELDS = st.sampled_from(["1", "2", "", "-1", "1.00", "purchase", "2026-01-31T17:45:00Z", "é", '"', "x" * 300, "\x1f"])


@given(rows=st.lists(st.lists(FIELDS, min_size=6, max_size=8), min_size=1, max_size=4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_fields_are_they_load_or_are_refused_in_words(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "some.csv"
    for columns, name in ((PRODUCT_COLUMNS, "products"), (EVENT_COLUMNS, "events")):
        path.write_text("\n".join([",".join(columns), *map(",".join, rows)]), encoding="utf-8")
        assert_loaded_or_refused(**{name: path})
