"""The whole of Aisle, started by its own launcher on a small shop: every process real, and a real browser in front."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from deploy.local import vitals
from deploy.local.environment import ROOT, free_port
from ml.tests import samples

PERSONAL_SECONDS = 20.0  # generous: what is proved is that it happens, not how fast
STOP_SECONDS = 40.0

# The launcher is shared by the module's tests, so the first of them waits for all of it.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Demo:
    process: subprocess.Popen[str]
    address: str
    state: Path

    def family(self) -> set[int]:
        """Every process on this machine that carries this demo's state directory in its environment."""
        mark, found = f"AISLE_STATE={self.state}\0".encode(), set()
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                # A child that has ended and was not yet waited for has no environment left.
                if mark in (directory / "environ").read_bytes() + b"\0":
                    found.add(int(directory.name))
            except OSError:
                continue
        return found


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    scratch = tmp_path_factory.mktemp("whole")
    write_csv(scratch / "products.csv", [dict(row) for row in samples.product_rows()])
    write_csv(scratch / "events.csv", [row | {"time": row["time"].isoformat()} for row in samples.event_rows()])
    port = free_port()
    given = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    log = scratch / "launcher.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "demo", "--data", str(scratch)],
            env=given | {"AISLE_STATE": str(scratch / "state"), "PORT": str(port)},
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    started = Demo(process, f"http://localhost:{port}", scratch / "state")
    try:
        while "Aisle is running" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    context = browser.new_context(base_url=demo.address)
    yield context.new_page()
    context.close()


def expect_personal(page: Page, source: str) -> None:
    """The panel becomes personal in this very document: a reload would have lost the mark."""
    page.evaluate("window.sameDocument = true")
    panel = page.locator("#panel-for_you")
    expect(panel).to_have_attribute("data-source", re.compile(source), timeout=PERSONAL_SECONDS * 1000)
    assert page.evaluate("window.sameDocument") is True


def look_at(page: Page, card: int) -> str:
    """Click a card of the panel; returns the name of the product whose page opens."""
    link = page.locator("#panel-for_you .card-link").nth(card)
    link.hover()  # a panel does not change under a hand
    name = link.locator(".card-name").inner_text()
    link.click()
    expect(page.locator("h1")).to_have_text(name)
    return name


def test_a_new_visitor_sees_the_panel_become_personal_without_a_reload(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#panel-for_you")).to_have_attribute("data-source", "popular")
    look_at(page, 0)
    second = look_at(page, 1)
    expect_personal(page, "viewed")
    expect(page.locator("#panel-for_you")).to_contain_text(f"Because you looked at {second}")


def test_after_consent_the_model_sees_the_whole_visit(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Yes, remember").click()
    look_at(page, 0)
    look_at(page, 1)
    expect_personal(page, "fresh")


def test_a_known_household_finds_its_recommendations_waiting_and_buys(page: Page) -> None:
    page.goto("/demo/")
    page.locator("form[action='/demo/sign-in'] button").first.click()
    panel = page.locator("#panel-for_you")
    expect(panel).to_have_attribute("data-source", "fresh", timeout=PERSONAL_SECONDS * 1000)
    expect(panel.locator(".because").first).to_contain_text("Because")

    name = panel.locator(".card-name").first.inner_text()
    panel.locator("button.add").first.click()
    expect(panel.locator("button.add").first).to_have_text("In cart: 1")
    page.goto("/checkout/")
    page.get_by_label("Name").fill("A. Shopper")
    page.get_by_label("Address").fill("Loopback 1")
    page.get_by_role("button", name=re.compile("Place the order")).click()
    expect(page.locator("main")).to_contain_text(name)

    # What was just bought is nothing new any more, on the very next page.
    page.goto("/")
    expect(panel.locator(".card-name").first).to_be_visible()
    assert name not in panel.locator(".card-name").all_inner_texts()


def test_a_first_load_is_light_and_nothing_moves(browser: Browser, demo: Demo) -> None:
    for name in ("home", "not found"):
        measured = vitals.measure(browser, demo.address, name, vitals.STRANGERS[name])
        assert measured.is_within_budget, measured
        assert 0 < measured.own_script_kb < measured.script_kb
        assert measured.queries <= 1


def test_a_page_is_whole_while_the_endpoint_is_dead(page: Page, demo: Demo) -> None:
    runtime = re.search(r"SAGEMAKER_RUNTIME='?([^'\s]+)", (demo.state / "env").read_text())
    assert runtime
    faults = page.context.request
    assert faults.post(f"{runtime[1]}/local-cloud/faults", data={"outage": "reset"}).ok
    try:
        page.goto("/")
        page.get_by_role("button", name="Yes, remember").click()
        look_at(page, 2)
        expect(page.locator("#panel-for_you .card").first).to_be_visible()
    finally:
        assert faults.post(f"{runtime[1]}/local-cloud/faults", data={}).ok


def test_stopping_leaves_nothing_running(demo: Demo) -> None:
    """Last in this file: it ends what the others share."""
    assert len(demo.family()) > 6
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(STOP_SECONDS) == 0
    assert demo.family() == set()
