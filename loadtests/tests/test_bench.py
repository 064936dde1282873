"""The bench counts what a page asked, and names every figure that it owes and does not have."""

import json
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from loadtests import results, tables
from loadtests.bench import __main__ as bench
from loadtests.bench import cost
from loadtests.bench.stack import Stack
from loadtests.bench.targets import TARGETS

TOLD = (
    b'+1.0 [0 127.0.0.1:1] "ECHO" "a page begins"\r\n'
    b'+1.1 [0 127.0.0.1:2] "EVALSHA" "abc" "4" "it\'s"\r\n'
    b'+1.1 [0 lua] "GET" "{aisle}:slate:shopper:1"\r\n'
    b'+1.2 [0 127.0.0.1:3] "HINCRBY" "{aisle}:metrics" "panels:fresh" "7"\r\n'
    b'+2.0 [0 127.0.0.1:1] "ECHO" "a page begins"\r\n'
    b'+2.1 [0 127.0.0.1:2] "EVALSHA" "abc" "4" "x"\r\n'
    b'+2.2 [0 127.0.0.1:4] "GET" "shop:1:limit"\r\n'
    b'+3.0 [0 127.0.0.1:1] "ECHO" "a page begins"\r\n'
)


def test_a_round_trip_is_what_a_page_asks_and_neither_a_scripts_own_steps_nor_the_counts_carried_beside() -> None:
    assert cost.counted(TOLD, 2) == [1, 2]


def test_round_trips_are_counted_at_a_real_redis() -> None:
    with Stack() as stack, Redis(port=stack.redis_port) as page:
        page.get("connects")
        looks: list[Callable[[], object]] = [
            lambda: None,
            lambda: page.get("x"),
            lambda: [page.get("x"), page.get("y")],
        ]
        assert cost.round_trips(stack.redis_port, looks) == [0, 1, 2]


def test_who_asks_aws_is_counted() -> None:
    with closing(cost.Knocks()) as knocks:
        port = int(knocks.address.rpartition(":")[2])
        assert knocks.count() == 0
        for _ in range(2):
            socket.create_connection(("127.0.0.1", port)).close()
        assert (knocks.count(), knocks.count()) == (2, 0)


def ran(monkeypatch: pytest.MonkeyPatch, file: Path, **measures: Callable[[Stack], dict[str, float]]) -> int:
    """The bench's exit code, with these in place of its parts."""
    for part, measure in measures.items():
        monkeypatch.setitem(sys.modules, f"loadtests.bench.{part}", SimpleNamespace(measure=measure))
    monkeypatch.setattr(sys, "argv", ["bench", *measures, "--json", str(file)])
    return bench.main()


def good(part: str) -> dict[str, float]:
    return {key: target.must for key, target in TARGETS.items() if target.part == part}


def test_a_part_that_fails_half_way_costs_its_own_figures_alone_and_they_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(stack: Stack) -> dict[str, float]:
        stack.median("home_cpu_ratio", [5.0, 6.0, 7.0])
        raise ValueError("the [server] went away")

    file = tmp_path / "bench.json"
    assert ran(monkeypatch, file, web=fails, endpoint=lambda stack: good("endpoint")) == 1
    report = json.loads(file.read_text())
    assert report["figures"] == {"home_cpu_ratio": 6.0, **good("endpoint")}
    assert report["missing"].keys() == good("web").keys() - {"home_cpu_ratio"}
    assert "the [server] went away" in report["missing"]["page_aws_calls"]
    assert "the [server] went away" in capsys.readouterr().out


def test_a_figure_that_would_be_wrong_is_missing_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def late(stack: Stack) -> dict[str, float]:
        stack.invalid["home_p99_ms_at_70pct"] = "the generator was late"
        return {key: value for key, value in good("web").items() if key != "home_p99_ms_at_70pct"}

    assert ran(monkeypatch, tmp_path / "bench.json", web=late) == 1
    result = results.load(tmp_path / "bench.json")
    assert result["missing"] == {"home_p99_ms_at_70pct": "the generator was late"}
    table = tables.markdown(result)
    assert "| `home_p99_ms_at_70pct` | missing |  | ≤ 20 | ≤ 10 | the generator was late |" in table
    assert "| `home_cpu_ratio` | 7 |  | ≤ 7 | ≤ 4 | met |" in table
    assert f"commit {result['commit']}, " in table
    assert f"Python {result['versions']['python']}" in table


def test_the_table_shows_a_missed_figure_as_missed_and_how_far_its_runs_were_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def slow(stack: Stack) -> dict[str, float]:
        runs = {"home_p99_ms_at_70pct": [31.0, 18.0, 24.5], "home_p99_ratio_to_floor": [1.5, 1.25, 1.375]}
        return good("web") | {key: stack.median(key, values) for key, values in runs.items()}

    assert ran(monkeypatch, tmp_path / "bench.json", web=slow) == 1
    table = tables.markdown(results.load(tmp_path / "bench.json"))
    assert "| `home_p99_ms_at_70pct` | 24.5 | 18 to 31 | ≤ 20 | ≤ 10 | **missed** |" in table
    assert "| `home_p99_ratio_to_floor` | 1.38 | 1.25 to 1.5 |  |  | p99 ÷ " in table


def test_a_result_is_not_replaced_without_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    assert ran(monkeypatch, file, web=lambda stack: good("web")) == 0
    assert "will be" not in capsys.readouterr().out
    made = results.load(file)
    assert ran(monkeypatch, file, web=lambda stack: good("web")) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"the result of {made['made'][:10]}, commit {made['commit']}, {len(made['figures'])} figures" in said
    file.write_text("[]")
    assert ran(monkeypatch, file, web=lambda stack: good("web")) == 0
    assert "what it holds, will be replaced" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.01, 1)])
def test_the_exit_code_says_whether_every_must_was_met(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, factor: float, code: int
) -> None:
    figures = {key: value * factor for key, value in good("web").items()}
    assert ran(monkeypatch, tmp_path / "bench.json", web=lambda stack: figures) == code


def test_a_part_that_hangs_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def hangs(stack: Stack) -> dict[str, float]:
        stack.start("sleeper", "sleep", "60").finish()
        return {}

    monkeypatch.setattr(bench, "LONGEST", 1)
    assert ran(monkeypatch, tmp_path / "bench.json", web=hangs) == 1
    assert "not done after 1 s" in json.loads((tmp_path / "bench.json").read_text())["missing"]["home_cpu_ratio"]
