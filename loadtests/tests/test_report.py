"""Reports and tables are made from results alone, and the split from what servers really say."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtests import report, results, split, tables
from loadtests.recording import Recording

VOID = {"meta", "br"}

BEFORE = """\
# HELP aisle_panels_total Panels by what filled them.
# TYPE aisle_panels_total counter
aisle_panels_total{source="fresh"} 100.0
aisle_queue_wait_seconds_bucket{le="0.01"} 5.0
aisle_queue_wait_seconds_bucket{le="0.1"} 10.0
aisle_queue_wait_seconds_bucket{le="+Inf"} 10.0
aisle_queue_wait_seconds_sum 0.5
"""
AFTER = """\
aisle_panels_total{source="fresh"} 190.0
aisle_panels_total{source="popular, \\"all\\""} 10.0
aisle_queue_wait_seconds_bucket{le="0.01"} 55.0
aisle_queue_wait_seconds_bucket{le="0.1"} 110.0
aisle_queue_wait_seconds_bucket{le="+Inf"} 110.0
aisle_queue_wait_seconds_sum 4.5
"""


class Balanced(HTMLParser):
    """Every element is closed where it should be, and nothing is loaded from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {"src", "href", "data", "action"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def result(**split_: Any) -> dict[str, Any]:
    recording = Recording(30.0, begins=1_000.0)
    for number in range(300):
        recording.fire(
            "home", 5.0 + number % 40, start_time=1_000.0 + number / 10, context={"source": "fresh", "known": 60.0}
        )
    recording.fire("search <&>", 900.0, ValueError("status 500 <b>"), start_time=1_010.0)
    recording.split["home"]["db"].record(0.002)
    recording.late.record(0.001)
    recording.cpu = {"here": 0.3}
    made = results.made(
        "run", "http://127.0.0.1:8000", stage="average", valid=True, troubles=[], held=False,
        objectives=[["home", "p99_ms", 10.0, 44.0], ["search <&>", "error_rate", 0.0, 1.0]],
        recording=recording.shown(), split=split_,
    )  # fmt: skip
    again: dict[str, Any] = json.loads(json.dumps(made))
    return again


def test_a_report_is_one_well_formed_file_that_loads_nothing() -> None:
    metrics = split.between(split.parse(BEFORE), split.parse(AFTER))
    cloud = {"ModelLatency": {"calls": 40, "mean": 0.004, "most": 0.01}}
    page = report.html(result(metrics=metrics, cloudwatch=cloud))
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.tags >= {"svg", "rect", "polyline", "table"}
    assert not parser.tags & {"script", "link", "img", "iframe"}
    assert "http" not in page.replace("http://127.0.0.1:8000", "")
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)
    for told in ("missed: home: p99_ms 44", "aisle_queue_wait_seconds", "ModelLatency", "server: db", "&lt;b&gt;"):
        assert told in page


def test_what_a_server_does_not_report_is_said_to_be_so() -> None:
    page = report.html(result(metrics=split.NOT_REPORTED, cloudwatch="no account from CloudWatch: refused"))
    assert split.NOT_REPORTED in page
    assert "no account from CloudWatch" in page


def test_a_report_of_nothing_can_be_made_too() -> None:
    empty = result() | {"recording": Recording(30.0, begins=1_000.0).shown(), "troubles": ["nothing was measured"]}
    assert "invalid: nothing was measured" in report.html(empty)


def test_what_counters_and_histograms_grew_by() -> None:
    grown = split.between(split.parse(BEFORE), split.parse(AFTER))
    assert isinstance(grown, dict)
    assert grown["counters"] == {
        "aisle_panels_total{source=fresh}": 90.0,
        'aisle_panels_total{source=popular, \\"all\\"}': 10.0,
    }
    waits = grown["histograms"]["aisle_queue_wait_seconds"]
    assert waits["count"] == 100
    assert waits["mean"] == pytest.approx(0.04)
    assert waits["p50"] == pytest.approx(0.01)
    assert waits["p95"] == pytest.approx(0.091)
    assert split.between(None, split.parse(AFTER)) == split.NOT_REPORTED


def test_a_quantile_beyond_the_last_edge_is_the_last_edge() -> None:
    assert split.quantile({0.1: 1.0, math.inf: 10.0}, 0.99) == 0.1


def test_a_result_survives_its_file_and_becomes_a_table(tmp_path: Path) -> None:
    made = result()
    path = results.save(made, tmp_path / "one.json")
    assert results.load(path) == made
    table = tables.markdown(made)
    assert table.startswith("| average, ms |")
    assert "| home | 300 |" in table
    assert made["commit"] in table


def test_a_file_that_is_no_result_is_refused_in_one_line(tmp_path: Path) -> None:
    for text in ("[]", "{", '{"figures": {}}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=r"other\.json"):
            results.load(tmp_path / "other.json")


def test_tables_of_faults_and_breakpoints_show_every_row() -> None:
    case = {"name": "Redis killed", "requests": 400, "failed": {"home: status 500": 2}, "refused": 0,
            "panel_missing": 0.4, "events": 90, "lost": 0, "twice": 0, "recovery": None}  # fmt: skip
    made = results.made("faults", "http://127.0.0.1", cases=[case], left_out="PostgreSQL: left out")
    assert "| Redis killed | 400 | 2 | 0 | 0.4 | 90 | 0 | 0 | never |" in tables.markdown(made)
    assert "| PostgreSQL: left out |" in tables.markdown(made)
    made = results.made("breakpoint", "http://127.0.0.1", tried=[{"rate": 200.0, "held": False, "why": "home: p99"}])
    assert "| 200 | no | home: p99 |" in tables.markdown(made)
