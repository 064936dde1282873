"""The shop's web process: CPU per request against an empty view's, latency under open-loop load, what a page costs.

The empty view is /healthz: it does nothing, behind the same middleware on the same server. Slates are put where a
real worker puts them, filled from canned answers; then worker and endpoint end, and only web server and Redis remain.
"""

import http.cookiejar
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from functools import partial

from loadtests.bench import client, cost, latency
from loadtests.bench.catalogue import HOUSEHOLDS
from loadtests.bench.part import BenchError, Part
from loadtests.bench.stack import Stack, answers, free_port

RUNS = 7
CPU_SECONDS = 2.0  # of a run: the kernel counts CPU in hundredths of a second
API_RATE = 500.0
SHARE_OF_SATURATION = 0.7
PATIENCE = 60.0


def measure(stack: Stack) -> dict[str, float]:
    with closing(cost.Knocks()) as aws:
        return _measured(stack, aws)


def _measured(stack: Stack, aws: cost.Knocks) -> dict[str, float]:
    web, port = stack.web(env={"AWS_ENDPOINT_URL": aws.address})
    cookies = warm(stack, port)
    empty = [client.get("/healthz", cookie) for cookie in cookies]
    api = [client.get("/api/recommendations", cookie) for cookie in cookies]
    home = [client.get("/", cookie) for cookie in cookies]
    stranger = [client.get("/")]
    figures = _cpu(stack, web, port, {"empty": empty, "panel_api": api, "home": home, "anonymous_home": stranger})
    figures |= _otherwise(stack, port, cookies, aws)
    pages, panels = latency.Asked(web, port, home), latency.Asked(web, port, api)
    for latencies in (latency.measure, latency.at_even_pace):
        figures |= latencies(stack, pages, "home", "at_70pct", lambda saturation: SHARE_OF_SATURATION * saturation)
        figures |= latencies(stack, panels, "panel_api", "at_500rps", lambda _: API_RATE)
    figures["web_memory_mb"] = web.memory() / 1e6
    web.stop()
    return figures


def warm(stack: Stack, port: int) -> list[str]:
    """Cookies of signed-in shoppers with a fresh slate of their own, a cart and something looked at."""
    endpoint_port = free_port()
    endpoint = stack.python("canned endpoint", "loadtests/bench/canned.py", str(endpoint_port), "0")
    endpoint.wait_until(lambda: answers(endpoint_port))
    worker = stack.worker(env={"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{endpoint_port}"})
    stack.say("signing in and filling slates")
    browsers = [Browser(port) for _ in range(HOUSEHOLDS)]
    for number, browser in enumerate(browsers):
        browser.post("/demo/sign-in", shopper=stack.shop.shoppers[number])
        browser.post("/cart/add/", product_id=stack.shop.product_ids[number * 7 + 1])
        browser.post("/looked-at/", product_id=stack.shop.product_ids[number * 11 + 1])
    for browser in browsers:
        _until(partial(_is_personal, browser), "a home page with its own slate")
    worker.stop()
    endpoint.stop()
    return [browser.cookie for browser in browsers]


class Browser:
    """Just enough of one to sign in and post forms."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._jar = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar)).open

    @property
    def cookie(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def get(self, path: str) -> str:
        with self._open(self._address + path) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> None:
        tokens = [cookie.value for cookie in self._jar if cookie.name == "csrftoken"]
        if not tokens:
            self.get("/")
            tokens = [cookie.value for cookie in self._jar if cookie.name == "csrftoken"]
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": tokens[0], **fields}).encode()
        self._open(self._address + path, form).close()


def _cpu(stack: Stack, web: Part, port: int, asked: dict[str, list[bytes]]) -> dict[str, float]:
    """Milliseconds a request and its ratio to the empty view's; each run asks for everything in turn."""
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for requests in asked.values():
        client.closed_loop(port, requests, CPU_SECONDS)
    for run in range(RUNS):
        stack.say(f"CPU per request, run {run + 1} of {RUNS}")
        for name, requests in asked.items():
            before = web.cpu_seconds()
            answered = client.closed_loop(port, requests, CPU_SECONDS)
            spent[name].append((web.cpu_seconds() - before) * 1000 / answered)
    figures = {f"{name}_cpu_ms": stack.median(f"{name}_cpu_ms", values) for name, values in spent.items()}
    for name in asked.keys() - {"empty"}:
        ratios = [value / empty for value, empty in zip(spent[name], spent["empty"], strict=True)]
        figures[f"{name}_cpu_ratio"] = stack.median(f"{name}_cpu_ratio", ratios)
    return figures


def _otherwise(stack: Stack, port: int, cookies: list[str], aws: cost.Knocks) -> dict[str, float]:
    """The most that any of the pages costs; the product page, which has a product to find, apart."""
    stack.say("counting round trips and queries")
    site, cookie = f"http://127.0.0.1:{port}", cookies[0]
    looks = [partial(cost.queries, site + path, who) for path in ("/", "/api/recommendations") for who in (cookie, "")]
    product = f"{site}/product/{stack.shop.product_ids[3]}/"
    for look in looks:
        look()
    cost.queries(product, cookie)
    aws.count()  # those of the start, if any
    # The least of each page's: the process makes rounds of its own beside (storefront.rounds), which only add.
    runs = [cost.round_trips(stack.redis_port, looks) for _ in range(RUNS)]
    return {
        "page_redis_round_trips": float(max(map(min, zip(*runs, strict=True)))),
        "page_database_queries": float(max(look() for look in looks)),
        "anonymous_page_database_queries": float(cost.queries(f"{site}/", "")),
        "product_page_database_queries": float(cost.queries(product, cookie)),
        "page_aws_calls": float(aws.count()),
    }


def _is_personal(browser: Browser) -> bool:
    return 'data-source="fresh"' in browser.get("/")


def _until(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > deadline:
            raise BenchError(f"there is no {what} after {PATIENCE:.0f} s")
        time.sleep(0.05)
