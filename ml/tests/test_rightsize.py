"""The local sweep measures the real serving command; what its figures are is not for a test to say."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from ml import chart, prices, rightsize
from ml.__main__ import main
from ml.errors import MlError
from ml.sweep import Cell, Grid, SweepError, server, sweep

SVG = "{http://www.w3.org/2000/svg}"


def test_every_combination_is_measured_on_the_serving_command(model_folder: Path) -> None:
    told: list[Cell] = []
    cells = sweep(model_folder.parent, Grid((1,), (1, 2), (1, 4), seconds=0.05), told.append)

    assert cells == told
    assert [(cell.workers, cell.concurrency, cell.batch) for cell in cells] == [
        (1, 1, 1),
        (1, 2, 1),
        (1, 1, 4),
        (1, 2, 4),
    ]
    for cell in cells:
        assert cell.queries_per_second > 0
        assert 0 < cell.p50_ms <= cell.p99_ms
    assert any(cell.cpu_ms_per_query > 0 for cell in cells)  # a short cell may use less than the kernel's one tick


def test_a_server_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="not ready"), server(tmp_path, 1):
        pass


def test_the_verb_prints_both_tables_and_leaves_the_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rightsize", "--local", "--quick", "--plot", str(tmp_path / "plot.svg")]) == 0

    printed = capsys.readouterr().out
    assert "not a measurement of instances" in " ".join(printed.split())
    assert "not checked with AWS" in " ".join(printed.split())
    assert all(each.name in printed for each in prices.INSTANCES)
    picture = ElementTree.fromstring((tmp_path / "plot.svg").read_text())
    assert len(picture.findall(f"{SVG}circle")) == len(rightsize.QUICK)


def test_a_model_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert main(["rightsize", "--local", "--model", str(tmp_path)]) == 2
    assert issubclass(SweepError, MlError)


def test_cost_is_the_price_of_the_cpu_time_that_a_million_queries_take() -> None:
    # .36 ms a query on two vCPUs are 20 million queries an hour.
    instance = prices.Instance("ml.example", 2, 0.102)
    assert rightsize.dollars_per_million(instance, 0.36) == pytest.approx(0.0051)


def test_the_least_disturbed_cell_of_a_batch_size_counts() -> None:
    cells = [Cell(1, 1, batch, 1.0, 1.0, 1.0, cpu) for batch, cpu in ((1, 0.4), (1, 0.3), (8, 0.1))]
    assert rightsize.least_cpu(cells, 1) == 0.3


def test_a_cell_too_short_for_the_kernels_clock_makes_nothing_free() -> None:
    unseen = Cell(1, 1, 1, 1.0, 1.0, 1.0, 0.0)
    assert rightsize.least_cpu([unseen, Cell(1, 2, 1, 1.0, 1.0, 1.0, 0.3)], 1) == 0.3
    assert math.isnan(rightsize.dollars_per_million(prices.INSTANCES[0], rightsize.least_cpu([unseen], 1)))


def test_a_point_lies_where_its_logarithms_say() -> None:
    series = {"a": [chart.Point(1.0, 1.0, "low"), chart.Point(100.0, 10.0, "high"), chart.Point(10.0, 10.0, "middle")]}
    picture = ElementTree.fromstring(chart.scatter("<title>", "x", "y", series))
    places = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in picture.findall(f"{SVG}circle")]
    left, right = chart.MARGIN, chart.WIDTH - chart.MARGIN
    assert places == [(left, chart.HEIGHT - chart.MARGIN), (right, chart.MARGIN), ((left + right) / 2, chart.MARGIN)]
