"""What a browser does at the shop: pages with their panels, forms with their token, reports, and the panel's polls."""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
from locust.contrib.fasthttp import FastHttpSession  # isort: skip
from locust.event import EventHook  # isort: skip

import math
import re
import time
import uuid
from typing import Any

from geventhttpclient.client import HTTPClientPool

TIMEOUT = 10.0  # seconds after which a shopper has gone
MOST_OPEN = 2_000  # connections; whoever waits for one waits on the clock that runs since the intended start
POLLS = 4  # the panel asks at most so often whether a newer slate is there
PANEL = re.compile(r'id="panel-for_you"[^>]*?data-source="(\w+)"')
POLL = re.compile(r'hx-get="(/panel/[^"]+)"')
TOO_MANY = 429


class Browser:
    """One shopper's cookies. Where ``due`` is given, latency counts from that intended start (perf_counter)."""

    def __init__(self, client: FastHttpSession, host: str) -> None:
        self.client = client
        self.host = host
        self.reported: list[str] = []  # keys of the events that were answered 202
        self._consents = False
        self._known = math.inf  # since when (perf_counter) the shop can make slates of this shopper's own

    @classmethod
    def of(cls, host: str, request_event: EventHook, pool: HTTPClientPool) -> "Browser":
        """With cookies of its own, over the ``pool``'s connections."""
        # No retries: the client's default of three would hide failures, and send one click twice.
        return cls(FastHttpSession(host, request_event, user=None, client_pool=pool, max_retries=0), host)

    def page(self, path: str, name: str, panel: bool = False, due: float | None = None) -> str:
        """GET a page; without the panel that it promises, it failed."""
        known = self._known_for(due)
        with self.client.get(path, name=name, catch_response=True) as answer:
            _count_from(due, answer)
            text: str = answer.text or ""
            found = PANEL.search(text)
            if answer.status_code == 200 and (panel or found):  # what did not come is an error, and no fallback
                answer.request_meta["context"] = {"source": found[1] if found else "none", "known": known}
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif panel and not found:
                answer.failure("the panel is missing")
            return text

    def api(self, name: str, due: float | None = None) -> dict[str, Any]:
        """The panel as JSON; {} if that failed."""
        known = self._known_for(due)
        with self.client.get("/api/recommendations?slate=for_you&limit=12", name=name, catch_response=True) as answer:
            _count_from(due, answer)
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                return {}
            panel: dict[str, Any] = answer.json()
            answer.request_meta["context"] = {"source": panel["source"], "known": known}
            if not panel["products"]:
                answer.failure("the panel is missing")
            return panel

    def report(self, product_id: str, name: str, due: float | None = None) -> bool:
        """A view, with a key of its own. A 429 is the shop's limit for one address or shopper, and counted apart."""
        key = uuid.uuid4().hex
        body = {"events": [{"kind": "view", "product_id": product_id, "key": key}]}
        headers = {"X-CSRFToken": self.token()}
        with self.client.post("/api/events", json=body, name=name, headers=headers, catch_response=True) as answer:
            _count_from(due, answer)
            if answer.status_code == 202:
                answer.success()
                self.reported.append(key)
                if self._consents:
                    self._known = min(self._known, time.perf_counter())
            elif answer.status_code == TOO_MANY:
                answer.request_meta["name"] = f"{name}, over the shop's limit"
                answer.success()
            else:
                answer.failure(f"status {answer.status_code}")
            return bool(answer.status_code == 202)

    def post(self, path: str, fields: dict[str, str], name: str) -> None:
        """A form. A sold-out product or a cart that changed is the shop's plain answer, not a fault of it."""
        headers = {"X-CSRFToken": self.token(), "Referer": f"{self.host}/"}
        with self.client.post(
            path, data=fields, name=name, headers=headers, allow_redirects=False, catch_response=True
        ) as answer:
            if not answer.status_code or answer.status_code >= 500 or answer.status_code in (403, 404):
                answer.failure(f"status {answer.status_code}")
            else:
                answer.success()

    def poll(self, page: str) -> None:
        """Ask for a newer panel as htmx does, until there is one or the panel gives up."""
        for _ in range(POLLS):
            address = POLL.search(page)
            if address is None:
                return
            page = self.page(address[1].replace("&amp;", "&"), "panel poll")

    def sign_in(self, shopper: str) -> None:
        self.page("/", "first sight")
        self.post("/demo/sign-in", {"shopper": shopper}, "sign in")
        self._known = time.perf_counter()

    def choose(self, choice: str) -> None:
        """Consent, "yes" or "no"."""
        self.page("/", "first sight")
        self.post("/privacy/choose/", {"choice": choice, "next": "/"}, "consent")
        self._consents = choice == "yes"

    def _known_for(self, due: float | None) -> float:
        """Seconds for which the shop has known this shopper by a history or a first event; negative for a stranger.

        By what this browser did and not by what the shop says: one that forgets its shoppers must not be excused.
        """
        return (time.perf_counter() if due is None else due) - self._known

    def token(self) -> str:
        return next((cookie.value or "" for cookie in self.client.cookiejar if cookie.name == "csrftoken"), "")


def connections() -> HTTPClientPool:
    """For many browsers together."""
    return HTTPClientPool(concurrency=MOST_OPEN, network_timeout=TIMEOUT, connection_timeout=TIMEOUT)


def _count_from(due: float | None, answer: Any) -> None:
    if due is not None:
        waited = time.perf_counter() - due
        answer.request_meta |= {"response_time": waited * 1e3, "start_time": time.time() - waited}
