"""What a fault's row says follows from what was seen."""

import json

import pytest

from loadtests.observed import Observed, Seen, longest_without
from loadtests.plan import Faults

PROMISED = Faults(rate=20, settle=4, hold=8, recover=60, panel_missing=2)


def seen(path: str = "home", at: float = 0.0, failure: str = "", panel: bool | None = None) -> Seen:
    return Seen(path, at, at + 0.1, failure, panel)


@pytest.mark.parametrize(
    ("sights", "seconds"),
    [
        ([], 0.0),
        ([(1.0, True), (2.0, True)], 0.0),
        ([(1.0, True), (2.0, False), (2.5, False), (3.0, True), (4.0, True)], 1.0),
        ([(1.0, False), (2.0, True), (5.0, False), (9.0, True)], 4.0),
        ([(1.0, False), (7.0, False)], 6.0),
    ],
)
def test_the_panel_is_missing_from_the_first_page_without_it_to_the_next_with_it(
    sights: list[tuple[float, bool]], seconds: float
) -> None:
    assert longest_without(sights) == seconds


def test_a_case_in_which_nothing_was_noticed_keeps_every_promise() -> None:
    observed = Observed("nothing", events=10, recovery=1.0)
    observed.count([seen(panel=True), seen("event")], may_refuse=False)
    assert observed.broken(PROMISED) == []


def test_every_broken_promise_is_named() -> None:
    observed = Observed("everything", events=10, lost=1, twice=2)
    observed.count(
        [seen(at=1, panel=False), seen(at=4, failure="status 500"), seen(at=6, panel=True)], may_refuse=False
    )
    failed, missing, events, recovery = observed.broken(PROMISED)
    assert failed == "1 × home: status 500"
    assert missing == "the panel was missing for 5.0 s"
    assert events == "of 10 events 1 were lost and 2 kept twice"
    assert recovery == "not recovered after 60 s"
    assert json.loads(json.dumps(observed.shown()))["failed"] == {"home: status 500": 1}


def test_without_a_database_only_home_and_category_must_be_served() -> None:
    observed = Observed("PostgreSQL", recovery=1.0)
    away = "status 503"
    observed.count([seen("search", failure=away), seen("home", failure=away)], may_refuse=True)
    assert observed.refused == 1
    assert observed.broken(PROMISED) == ["1 × home: status 503"]
    observed.count([seen("search", failure="status 500")], may_refuse=True)
    assert "1 × search: status 500" in observed.broken(PROMISED)
