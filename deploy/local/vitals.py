"""What each type of page weighs and how it feels in a real browser, from the running demo: ``make vitals``.

Each page is opened with an empty cache in a context of its own. Kilobytes (1,000 bytes) are those that came over the
wire, headers included, what was not compressed counted as gzip makes it: the shop compresses its static files, and
leaves pages and pictures to the proxy that ends TLS, which the demo lacks. LCP and CLS are those of web.dev; INP is the
longest Event Timing of one click on the search box, in steps of 8 ms, and 0 stands for less than 16 ms. Times are this
machine's: compare them with one another only.
"""

import base64
import gzip
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, StorageState

from deploy.local.browser import chromium

MOST_KB, MOST_OWN_SCRIPT_KB = 100.0, 15.0  # the budget of a first load
STRANGERS = {
    "home": "/",
    "sign-in": "/account/sign-in/",
    "sign-up": "/account/sign-up/",
    "demo shoppers": "/demo/",
    "not found": "/nowhere/",
}
HOUSEHOLDS = {
    "home, household": "/",
    "search": "/search/?q=milk",
    "search, corrected": "/search/?q=chese",
    "nothing found": "/search/?q=xylophone",
    "why": "/why/",
    "privacy": "/privacy/",
    "account": "/account/",
    "cart": "/cart/",
    "checkout": "/checkout/",
}
_OBSERVE = """
window.vitals = { lcp: 0, cls: 0, inp: 0 };
const watch = (type, act, more) => new PerformanceObserver(list => list.getEntries().forEach(act))
  .observe({ type, buffered: true, ...more });
watch("largest-contentful-paint", entry => { vitals.lcp = entry.startTime; });
watch("layout-shift", entry => { if (!entry.hadRecentInput) vitals.cls += entry.value; });
watch("event", entry => { if (entry.interactionId) vitals.inp = Math.max(vitals.inp, entry.duration); },
  { durationThreshold: 16 });
"""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of one page: kilobytes on first load, milliseconds, and ``queries`` as Server-Timing told them."""

    name: str
    path: str
    kb: float
    document_kb: float
    style_kb: float
    script_kb: float
    own_script_kb: float
    images_kb: float
    lcp_ms: float
    cls: float
    inp_ms: float
    server_ms: float
    queries: int

    @property
    def is_within_budget(self) -> bool:
        return self.kb <= MOST_KB and self.own_script_kb <= MOST_OWN_SCRIPT_KB and self.cls == 0


class Wire:
    """What came over the wire: each response with its kind, whether it is a script of our own, and its bytes."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session
        self._begun: dict[str, dict[str, Any]] = {}
        self._bytes: dict[str, float] = {}
        session.on("Network.responseReceived", lambda event: self._begun.update({event["requestId"]: event}))
        session.on(
            "Network.loadingFinished",
            lambda event: self._bytes.update({event["requestId"]: event["encodedDataLength"]}),
        )
        session.send("Network.enable")

    def _ended(self, event: dict[str, Any]) -> None:
        self._bytes[event["requestId"]] = event["encodedDataLength"]

    def sizes(self) -> dict[str, float]:
        """Kilobytes by kind, and apart those of our own scripts ("own"), as the proxy in front would send them."""
        found: dict[str, float] = defaultdict(float)
        for request, size in self._bytes.items():
            event = self._begun.get(request)
            if event is None:
                continue
            came = (size - self._saved_by_gzip(request, event["response"])) / 1000
            found[event["type"]] += came
            if event["type"] == "Script" and "/storefront/" in event["response"]["url"]:
                found["own"] += came
        return dict(found)

    def _saved_by_gzip(self, request: str, response: dict[str, Any]) -> int:
        if "content-encoding" in {name.lower() for name in response["headers"]}:
            return 0
        answer = self._session.send("Network.getResponseBody", {"requestId": request})
        body = base64.b64decode(answer["body"]) if answer["base64Encoded"] else answer["body"].encode()
        return max(len(body) - len(gzip.compress(body, 6)), 0)


def measure(browser: Browser, address: str, name: str, path: str, state: StorageState | None = None) -> Vitals:
    """One page of the shop at this address, with the cookies of this state and nothing in its cache."""
    context = browser.new_context(base_url=address, storage_state=state, viewport={"width": 390, "height": 844})
    try:
        page = context.new_page()
        wire = Wire(context.new_cdp_session(page))
        page.add_init_script(_OBSERVE)
        page.goto(path, wait_until="networkidle")
        sizes = wire.sizes()  # before the click: what it loads is no first load
        page.get_by_role("combobox", name="Search the shop").click()
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")  # entries come late
        return _vitals(page, name, path, sizes)
    finally:
        context.close()


def _vitals(page: Page, name: str, path: str, sizes: dict[str, float]) -> Vitals:
    seen = page.evaluate("vitals")
    told = page.evaluate(
        "performance.getEntriesByType('navigation')[0].serverTiming.map(it => [it.name, it.duration, it.description])"
    )
    steps = {step: (duration, description) for step, duration, description in told}
    return Vitals(
        name=name,
        path=path,
        kb=sum(size for kind, size in sizes.items() if kind != "own"),
        document_kb=sizes.get("Document", 0.0),
        style_kb=sizes.get("Stylesheet", 0.0),
        script_kb=sizes.get("Script", 0.0),
        own_script_kb=sizes.get("own", 0.0),
        images_kb=sizes.get("Image", 0.0),
        lcp_ms=seen["lcp"],
        cls=round(seen["cls"], 4),
        inp_ms=seen["inp"],
        server_ms=steps["total"][0],
        queries=int(steps["db"][1].split()[0]),
    )


def of_demo(browser: Browser, address: str) -> Iterator[Vitals]:
    """Every type of page, first as a stranger sees it, then as a household with something in the cart does."""
    for name, path in STRANGERS.items():
        yield measure(browser, address, name, path)
    context = browser.new_context(base_url=address)
    paths = HOUSEHOLDS | _shop_as_household(context)
    state = context.storage_state()
    context.close()
    for name, path in paths.items():
        yield measure(browser, address, name, path, state)


def _shop_as_household(context: BrowserContext) -> dict[str, str]:
    """Sign in, order something and put something else into the cart; returns the pages found on the way."""
    page = context.new_page()
    page.goto("/demo/")
    page.get_by_role("button", name="Sign in as").first.click()
    panel = page.get_by_role("region", name="Recommended for you")
    product = panel.get_by_role("link").filter(has=page.locator("img")).first.get_attribute("href") or ""
    shelf = page.get_by_role("navigation", name="Departments").get_by_role("link").first.get_attribute("href") or ""
    _add(page, panel)
    page.goto("/checkout/")
    page.get_by_label("Name").fill("A. Shopper")
    page.get_by_label("Address").fill("Loopback 1")
    page.get_by_role("button", name="Place the order").click()
    page.wait_for_url("**/order/**")
    order = page.url
    page.goto("/")
    _add(page, panel)
    page.goto(shelf)
    category = page.get_by_role("navigation", name="Shelves").get_by_role("link").nth(1).get_attribute("href") or ""
    found = {"department, filtered": f"{shelf}?stock=in", "category": category, "product": product}
    return found | {"confirmation": order, "orders": "/account/orders/"}


def _add(page: Page, panel: object) -> None:
    with page.expect_response("**/cart/add/"):
        page.get_by_role("button", name="to the cart").first.click()


def run(as_json: bool) -> bool:
    """Print them all, as a table or as JSON; False if one is over the budget. Raises NoBrowser."""
    with chromium() as browser:
        address = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
        measured = []
        if not as_json:
            print(f"{'':22}   LCP   INP  CLS    server q |    KB  page  CSS   JS  own  images")
        for one in of_demo(browser, address):
            measured.append(one)
            if not as_json:
                print(_line(one), flush=True)
    if as_json:
        json.dump([asdict(one) for one in measured], sys.stdout, indent=1)
    return all(one.is_within_budget for one in measured)


def _line(one: Vitals) -> str:
    return (
        f"{one.name:22} {one.lcp_ms:5.0f} {one.inp_ms:5.0f} {one.cls:4.2g} {one.server_ms:6.1f} ms {one.queries:2} | "
        f"{one.kb:5.1f} {one.document_kb:5.1f} {one.style_kb:4.1f} {one.script_kb:4.1f} {one.own_script_kb:4.1f} "
        f"{one.images_kb:7.1f}{'' if one.is_within_budget else '  OVER'}"
    )
