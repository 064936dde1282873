"""Every answer says what browsers may load and run on it, whoever made the answer."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from storefront.models import Product

pytestmark = pytest.mark.django_db

HEADER = "Content-Security-Policy"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/", 200),
        ("/api/recommendations", 200),
        ("/api/recommendations?slate=none", 400),
        ("/api/nothing", 404),
        ("/art/p01.svg", 200),
        ("/admin/login/", 200),
        ("/cart", 301),
        ("/nowhere/", 404),
    ],
)
def test_every_answer_carries_the_whole_policy(client: Client, shelf: list[Product], address: str, status: int) -> None:
    response = client.get(address)
    assert (response.status_code, response.headers[HEADER]) == (status, POLICY)


def test_a_form_that_is_refused_does_too(shelf: list[Product]) -> None:
    response = Client(enforce_csrf_checks=True).post("/cart/add/", {"product_id": "p01"})
    assert (response.status_code, response.headers[HEADER]) == (403, POLICY)


@pytest.mark.parametrize(("fault", "status"), [(ZeroDivisionError(), 500), (OperationalError(), 503)])
def test_so_does_what_went_wrong(
    shelf: list[Product], monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise fault

    monkeypatch.setattr("storefront.panels.for_page", fails)
    response = Client(raise_request_exception=False).get("/product/p01/")
    assert (response.status_code, response.headers[HEADER]) == (status, POLICY)


def test_a_developers_page_about_a_fault_keeps_its_inline_style(client: Client, settings: Any) -> None:
    settings.DEBUG = True
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "URLconf" in response.content.decode()
    assert HEADER not in response.headers
    assert HEADER in client.get("/privacy/").headers
