"""A whole run: it is held where shoppers see what they ought to, and missed where those whom the shop knows do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import plan
from loadtests.recording import Recording
from loadtests.tests import toyshop

# Only what does not depend on how fast this machine is.
RATES = """
[objectives."home"]
error_rate = 0
hit_rate = 0.95
fallback_rate = 0.01

[objectives."panel api"]
error_rate = 0
fallback_rate = 0.01

[objectives."freshness"]
error_rate = 0
"""


def patient(tmp_path: Path) -> Path:
    """The shop's own file with a short stage, rates alone, and a generator that may be late."""
    head, _, rest = plan.FILE.read_text().partition('[objectives."home"]')
    faults = rest[rest.index("[faults]") :]
    for before, after in (
        ("steps = [[10, 10]]\nwarm_up = 5\nshoppers = 2", "steps = [[60, 2]]\nwarm_up = 0.5\nshoppers = 10"),
        ("late_ms = 10", "late_ms = 60000"),
        ("cpu_share = 0.9", "cpu_share = 9"),
        ("own_after = 2", "own_after = 0.2"),
    ):
        assert before in head
        head = head.replace(before, after, 1)
    file = tmp_path / "slo.toml"
    file.write_text(head + RATES + faults)
    return file


@pytest.mark.parametrize(("forgetful", "code"), [(False, 0), (True, 1)])
def test_a_run_is_missed_when_known_shoppers_see_what_strangers_see_and_only_then(
    forgetful: bool, code: int, tmp_path: Path
) -> None:
    with toyshop.opened(forgetful) as shop:
        ran = subprocess.run(
            [sys.executable, "-m", "loadtests", "run", "smoke", "--host", shop.address,
             "--slo", str(patient(tmp_path)), "--output", str(tmp_path / "run.json")],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("missed home: fallback_rate 1 > 0.01" in ran.stdout) == forgetful
    recording = Recording.read(json.loads((tmp_path / "run.json").read_text())["recording"])
    # So many strangers came that a rate of everybody's panels would have missed, whatever the known ones saw.
    assert recording.strangers["home"]["popular"] > 0.01 * recording.sources["home"].total()
    assert recording.strangers["home, visitor"].keys() == {"popular"}
    assert "strangers" in (tmp_path / "run.html").read_text()
