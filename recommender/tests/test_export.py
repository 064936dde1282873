"""Feeding the model: the export is what ml.data reads, of consenting shoppers alone, whole or not at all."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from ml import contract
from recommender import aws, events, export, privacy, tasks
from recommender.events import LoadedEvent, NewEvent
from recommender.models import Shopper

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 5, 1, 10, 20, 30, 123456, tzinfo=UTC)


def objects() -> dict[str, bytes]:
    listed = aws._s3().list_objects_v2(Bucket="aisle").get("Contents", [])
    return {one["Key"]: aws._s3().get_object(Bucket="aisle", Key=one["Key"])["Body"].read() for one in listed}


def table(body: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(body))


def test_both_tables_have_the_contracts_columns_and_types(s3: str) -> None:
    [shopper_id] = privacy.join()
    events.load([LoadedEvent(shopper_id, "p1", "purchase", 2, "b1", MOMENT)])
    assert tasks.export_events() == {"url": "s3://aisle/export", "events": 1, "products": 30}
    found = objects()
    assert list(found) == [
        "export/_SUCCESS", "export/events/part-00000.parquet", "export/products/part-00000.parquet",
    ]  # fmt: skip
    told = table(found["export/events/part-00000.parquet"])
    assert tuple(told.column_names) == contract.EVENT_COLUMNS
    assert told.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert told.to_pylist() == [
        {
            "shopper": str(Shopper.objects.get().export_key), "basket": "b1", "product_id": "p1", "kind": "purchase",
            "quantity": 2, "time": MOMENT,
        }
    ]  # fmt: skip
    products = table(found["export/products/part-00000.parquet"])
    assert tuple(products.column_names) == contract.PRODUCT_COLUMNS
    assert products.schema.field("price").type == pa.float64()
    assert json.loads(found["export/_SUCCESS"]) == {"events": 1, "products": 30}


def test_only_consenting_shoppers_and_what_the_model_learns_from(s3: str) -> None:
    one, other = privacy.join(2)
    for shopper_id in (one, other):
        kinds = ("view", "impression", "click", "dismiss")
        events.record(shopper_id, [NewEvent(product_id="p1", kind=kind) for kind in kinds])
    privacy.opt_out(other)
    tasks.export_events()
    told = table(objects()["export/events/part-00000.parquet"]).to_pylist()
    assert [(row["shopper"], row["kind"]) for row in told] == [
        (str(Shopper.objects.get(pk=one).export_key), kind) for kind in ("view", "dismiss")
    ]


def test_running_again_leaves_nothing_of_before(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PART_ROWS", 10)
    [shopper_id] = privacy.join()
    events.load(LoadedEvent(shopper_id, f"p{n}", "view", 1, "", MOMENT) for n in range(25))
    tasks.export_events()
    assert sum(key.startswith("export/events/") for key in objects()) == 3
    first = objects()
    tasks.export_events()
    assert objects() == first
    privacy.forget(shopper_id)
    tasks.export_events()
    [left] = [key for key in objects() if key.startswith("export/events/")]
    assert table(objects()[left]).num_rows == 0


def test_an_export_that_fails_half_way_has_no_marker(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks.export_events()
    upload = aws.upload

    def failing(path: Path, url: str) -> None:
        if "products" in url:
            raise aws.UploadFailed("the line is cut")
        upload(path, url)

    monkeypatch.setattr(aws, "upload", failing)
    with pytest.raises(aws.UploadFailed):
        tasks.export_events()
    assert "export/_SUCCESS" not in objects()


def test_the_command_says_where_and_how_much(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    [shopper_id] = privacy.join()
    events.load([LoadedEvent(shopper_id, "p1", "view", 1, "", MOMENT)])
    call_command("export_events")
    assert capsys.readouterr().out == "s3://aisle/export: 1 events, 30 products\n"


def test_the_command_names_what_is_wrong(s3: str) -> None:
    aws._s3().delete_bucket(Bucket="aisle")
    with pytest.raises(CommandError, match="NoSuchBucket"):
        call_command("export_events")


def test_ml_reads_what_was_exported(s3: str, tmp_path: Path) -> None:
    from ml import data

    shoppers = privacy.join(3)
    events.load(
        LoadedEvent(shopper_id, f"p{n}", "purchase", 1, f"b{shopper_id}", MOMENT)
        for shopper_id in shoppers
        for n in range(1, 6)
    )
    tasks.export_events()
    for key, body in objects().items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(body)
    assert data.read(tmp_path / "export")
