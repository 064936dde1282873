"""The README's pictures, taken in a real browser from the running demo: ``make screenshots``."""

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from deploy.local.environment import ROOT

FOLDER = ROOT / "docs"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESKTOP, PHONE = (1280, 860), (390, 844)


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine."""


def take() -> list[Path]:
    """Take them all; returns the files."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise NoBrowser("there is no chromium on PATH: install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        household, phone = _open(browser, DESKTOP), _open(browser, PHONE)
        household.goto("/demo/")
        household.locator("form[action='/demo/sign-in'] button").first.click()
        household.locator("#panel-for_you[data-source='fresh']").wait_for()
        taken = [_shot(household, "home")]
        household.locator("#panel-for_you .card-link").first.click()
        household.wait_for_url("**/product/**")
        while not household.locator("#panel-together").count():  # after a start, products' slates are still being made
            household.wait_for_timeout(1000)
            household.reload()
        taken.append(_shot(household, "product"))
        phone.goto("/")
        phone.get_by_role("button", name="No, thanks").click()
        taken.append(_shot(phone, "phone"))
        browser.close()
    return taken


def _open(browser: Browser, size: tuple[int, int]) -> Page:
    width, height = size
    address = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
    return browser.new_context(base_url=address, viewport={"width": width, "height": height}).new_page()


def _shot(page: Page, name: str) -> Path:
    page.wait_for_load_state("networkidle")
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    return path
