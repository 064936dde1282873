"""What operators read: /metrics for whoever may, and on each answer where its time went."""

import re
from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_demonstration_shows_its_metrics_to_its_own_machine(client: Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert b"# TYPE aisle_panels_total counter" in answer.content
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 404


def test_a_shop_shows_its_metrics_to_whoever_bears_the_token(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "s3cret"
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_a_shop_without_a_token_shows_them_to_nobody(client: Client, settings: Any) -> None:
    settings.LOCAL = False
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("address", ["/", "/api/recommendations", "/no-such-page"])
def test_every_answer_says_where_its_time_went_and_nothing_else(client: Client, address: str) -> None:
    told = client.get(address)["Server-Timing"]
    found = re.fullmatch(r'total;dur=([\d.]+), redis;dur=([\d.]+), db;dur=([\d.]+);desc="(\d+) queries"', told)
    assert found, told
    total, redis, database, queries = map(float, found.groups())
    assert (queries > 0) == (database > 0)
    assert redis + database <= total
    assert (redis > 0) == (address != "/no-such-page")
