"""Shoppers as they come: strangers and households, who browse, look, search, fill a cart and sometimes pay.

    python -m loadtests                                  # thirty seconds against the running demo
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000    # the same with Locust's own pages

Who may come and what is popular is read once from the demo's own listing, so the load falls on products as sales do.
"""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
from locust import FastHttpUser, between, events, task  # isort: skip

import json
import random
import re
import sys
from itertools import accumulate
from typing import Any
from urllib.request import urlopen

POLLS = 4  # the panel asks at most so often whether a newer slate is there

_shoppers: list[str] = []
_products: list[str] = []
_sold: list[int] = []  # cumulative, for random.choices


@events.test_start.add_listener
def read_weights(environment: Any, **_: Any) -> None:
    with urlopen(f"{environment.host}/demo/weights", timeout=10) as answer:
        weights = json.load(answer)
    _shoppers[:] = [shopper["shopper"] for shopper in weights["shoppers"]]
    _products[:] = [product["product_id"] for product in weights["products"]]
    _sold[:] = accumulate(max(1, product["weight"]) for product in weights["products"])


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    """Any failure fails the run; so does a run that measured nothing."""
    total = environment.stats.total
    if total.num_failures or not total.num_requests:
        print(f"loadtests: {total.num_failures} of {total.num_requests} requests failed", file=sys.stderr)
        environment.process_exit_code = 1


class Shopper(FastHttpUser):
    abstract = True
    wait_time = between(0.5, 2.0)

    def on_start(self) -> None:
        self.page("/", "home, first sight")

    @task(4)
    def come_home(self) -> None:
        self.page("/", "home", panel="for_you")

    @task(6)
    def look(self) -> None:
        product_id = self.some_product()
        page = self.page(f"/product/{product_id}/", "product")
        self.post_json("/api/events", {"events": [{"kind": "view", "product_id": product_id}]}, "view", accepted=202)
        self.poll(page)

    @task(3)
    def browse(self) -> None:
        home = self.page("/", "home", panel="for_you")
        shelves = re.findall(r'href="(/department/[^"]+)"', home)
        if shelves:
            page = self.page(random.choice(shelves), "department")
            within = re.findall(r'href="(/department/[^"/]+/[^"/]+/)"', page)
            if within:
                self.page(f"{random.choice(within)}?sort=price&page={random.randint(1, 3)}", "category")

    @task(2)
    def search(self) -> None:
        self.page(f"/search/?q={random.choice(('milk', 'bread', 'cheese', 'pizza', 'apples', 'xyzzy'))}", "search")

    @task(1)
    def ask_the_api(self) -> None:
        with self.client.get("/api/recommendations?slate=for_you&limit=12", name="api", catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["products"]:
                answer.failure(f"{answer.status_code}: no recommendations")

    @task(1)
    def buy(self) -> None:
        for _ in range(random.randint(1, 3)):
            self.post("/cart/add/", {"product_id": self.some_product()}, "add to cart")
        page = self.page("/checkout/", "checkout")
        key = re.search(r'name="key" value="([^"]+)"', page)
        if key and random.random() < 0.5:
            shown = re.search(r'name="shown_cents" value="(\d+)"', page)
            order = {"key": key[1], "shown_cents": shown[1] if shown else "0", "name": "Load", "address": "Loopback 1"}
            self.post("/checkout/", order, "order")

    def some_product(self) -> str:
        return random.choices(_products, cum_weights=_sold)[0]

    def page(self, path: str, name: str, panel: str = "") -> str:
        """GET a page; without the panel that it promises, it failed."""
        with self.client.get(path, name=name, catch_response=True) as answer:
            text = answer.text or ""
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif panel and f'id="panel-{panel}"' not in text:
                answer.failure(f"the panel {panel} is missing")
            return text

    def poll(self, page: str) -> None:
        """Ask for a newer panel as htmx does, until there is one or the panel gives up."""
        for _ in range(POLLS):
            address = re.search(r'hx-get="(/panel/[^"]+)"', page)
            if address is None:
                return
            page = self.page(address[1].replace("&amp;", "&"), "panel poll")

    def post(self, path: str, fields: dict[str, str], name: str) -> None:
        headers = {"X-CSRFToken": self.csrf_token(), "Referer": f"{self.host}/"}
        with self.client.post(path, data=fields, name=name, headers=headers, catch_response=True) as answer:
            # A sold-out product or a cart that changed is the shop's plain answer, not a fault of it.
            if answer.status_code >= 500 or answer.status_code in (403, 404):
                answer.failure(f"status {answer.status_code}")
            else:
                answer.success()

    def post_json(self, path: str, body: Any, name: str, accepted: int) -> None:
        headers = {"X-CSRFToken": self.csrf_token()}
        with self.client.post(path, json=body, name=name, headers=headers, catch_response=True) as answer:
            if answer.status_code != accepted:
                answer.failure(f"status {answer.status_code}: {(answer.text or '')[:200]}")
            else:
                answer.success()

    def csrf_token(self) -> str:
        return next((cookie.value or "" for cookie in self.client.cookiejar if cookie.name == "csrftoken"), "")


class Household(Shopper):
    """Known by a year of history: most of a grocer's visitors."""

    weight = 6

    def on_start(self) -> None:
        super().on_start()
        self.post("/demo/sign-in", {"shopper": random.choice(_shoppers)}, "sign in")


class Visitor(Shopper):
    """Nobody knows them, and they have not chosen."""

    weight = 3


class ConsentingVisitor(Shopper):
    """Nobody knows them yet."""

    weight = 1

    def on_start(self) -> None:
        super().on_start()
        self.post("/privacy/choose/", {"choice": "yes", "next": "/"}, "consent")
