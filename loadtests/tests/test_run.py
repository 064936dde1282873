"""A whole run: it is held where shoppers see what they ought to, and missed where those whom the shop knows do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import plan
from loadtests.bench.stack import Stack, answers, free_port
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

[objectives."invocation"]
error_rate = 0
"""


def run(stage: str, shop: toyshop.Shop, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "loadtests", "run", stage, "--host", shop.address,
         "--slo", str(patient(folder)), "--output", str(folder / "run.json")],
        env=os.environ | env, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def patient(tmp_path: Path) -> Path:
    """The shop's own file with a short stage, rates alone, and a generator that may be late."""
    head, _, rest = plan.FILE.read_text().partition('[objectives."home"]')
    faults = rest[rest.index("[faults]") :]
    for before, after in (
        ("steps = [[10, 10]]\nwarm_up = 5\nshoppers = 2", "steps = [[60, 2]]\nwarm_up = 0.5\nshoppers = 10"),
        ("steps = [[50, 30]]\nwarm_up = 5", "steps = [[50, 1]]\nwarm_up = 0.5"),
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
        ran = run("smoke", shop, tmp_path)
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("missed home: fallback_rate 1 > 0.01" in ran.stdout) == forgetful
    recording = Recording.read(json.loads((tmp_path / "run.json").read_text())["recording"])
    # So many strangers came that a rate of everybody's panels would have missed, whatever the known ones saw.
    assert recording.strangers["home"]["popular"] > 0.01 * recording.sources["home"].total()
    assert recording.strangers["home, visitor"].keys() == {"popular"}
    assert "strangers" in (tmp_path / "run.html").read_text()


@pytest.mark.parametrize(("there", "code"), [(True, 0), (False, 1)])
def test_the_endpoint_can_be_asked_without_a_shop_in_between(there: bool, code: int, tmp_path: Path) -> None:
    port = free_port()
    with Stack() as stack, toyshop.opened() as shop:
        if there:
            endpoint = stack.python("canned", "loadtests/bench/canned.py", str(port), "1")
            endpoint.wait_until(lambda: answers(port))
        ran = run("endpoint", shop, tmp_path, AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=f"http://127.0.0.1:{port}")
    assert ran.returncode == code, ran.stdout + ran.stderr
    recording = Recording.read(json.loads((tmp_path / "run.json").read_text())["recording"])
    assert recording.paths.keys() == {"invocation"}
    assert bool(recording.failures) != there
