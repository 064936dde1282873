"""Sessions and what was looked at come in signed cookies that are opened once; that must change nothing else."""

import time

import pytest
from django.core import signing
from django.http import HttpRequest, HttpResponse

from storefront import session
from storefront.session import SessionStore
from storefront.visitor import VIEWED, Visitor


@pytest.fixture
def cookie() -> str:
    store = SessionStore()
    store.update({"consent": "yes", "kept": ["one"]})
    store.save()
    return str(store.session_key)


def test_a_cookie_is_opened_once_and_each_request_has_a_session_of_its_own(
    cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SessionStore(cookie)
    first["kept"].append("two")
    first["consent"] = "no"
    monkeypatch.setattr(signing, "loads", None)  # asking again would fail
    assert dict(SessionStore(cookie).items()) == {"consent": "yes", "kept": ["one"]}


def test_a_cookie_that_was_opened_before_still_grows_too_old(cookie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SessionStore(cookie)["consent"] == "yes"
    later = time.time() + SessionStore().get_session_cookie_age() + 2
    monkeypatch.setattr(time, "time", lambda: later)
    old = SessionStore(cookie)
    assert old.get("consent") is None
    assert old.modified  # so that the browser gets another


def test_one_that_is_forged_is_opened_for_nobody_and_not_kept(cookie: str) -> None:
    SessionStore(cookie).get("consent")
    kept = session._opened.cache_info().currsize
    for forged in (cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), "x" + cookie, "", "nonsense", "a:b:c"):
        assert SessionStore(forged).get("consent") is None
    assert session._opened.cache_info().currsize == kept


def test_what_one_signed_in_shopper_looked_at_is_not_anothers() -> None:
    def visitor(user: str, viewed: str = "") -> Visitor:
        request = HttpRequest()
        request.session = SessionStore()
        request.session["_auth_user_id"] = user
        request.COOKIES[VIEWED] = viewed
        return Visitor(request)

    response = HttpResponse()
    visitor("1").saw("p01", response)
    signed = response.cookies[VIEWED].value
    assert visitor("1", signed).viewed == ("p01",)
    assert visitor("2", signed).viewed == ()
    assert visitor("1", signed[:-1]).viewed == ()
