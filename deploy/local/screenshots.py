"""The README's pictures, taken in a real browser from the running demo: ``make screenshots``."""

import os
from pathlib import Path

from playwright.sync_api import Browser, Page

from deploy.local.browser import chromium
from deploy.local.environment import ROOT

FOLDER = ROOT / "docs"
DESKTOP, PHONE = (1280, 860), (390, 844)
ROUNDS = 10  # of looks at the recommended products, before giving up


class NoPicture(RuntimeError):
    """There is nothing to take a picture of yet."""


def take() -> list[Path]:
    """Take them all; returns the files. Raises NoBrowser and NoPicture."""
    with chromium() as browser:
        household, phone = _open(browser, DESKTOP), _open(browser, PHONE)
        household.goto("/demo/")
        household.locator("form[action='/demo/sign-in'] button").first.click()
        household.locator("#panel-for_you[data-source='fresh']").wait_for()
        taken = [_shot(household, "home")]
        _open_full_product(household)
        taken.append(_shot(household, "product"))
        phone.goto("/")
        phone.get_by_role("button", name="No, thanks").click()
        taken.append(_shot(phone, "phone"))
    return taken


def _open_full_product(page: Page) -> None:
    """One of the recommended products whose page has all its panels: after a start they are still being made, and a
    product that is sold alone has nothing that goes with it."""
    links = page.locator("#panel-for_you .card-link").all()
    addresses = [str(link.get_attribute("href")) for link in links]
    for _ in range(ROUNDS):
        for address in addresses:
            page.goto(address)
            if page.locator("#panel-together").count():
                return
        page.wait_for_timeout(1000)
    raise NoPicture("no recommended product goes with others yet: has the demo said that it is ready?")


def _open(browser: Browser, size: tuple[int, int]) -> Page:
    width, height = size
    address = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
    return browser.new_context(base_url=address, viewport={"width": width, "height": height}).new_page()


def _shot(page: Page, name: str) -> Path:
    page.wait_for_load_state("networkidle")
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    return path
