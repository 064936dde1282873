"""A demo shopper at the shop's door, over HTTP like everybody: how the launcher knows that all of it works."""

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

SECONDS = 10.0


class NotYet(Exception):
    """What is missing before the home page is personal."""


class DemoShopper:
    """One of the shop's demo shoppers, signed in with a browser's cookies."""

    PAGE = "/demo/"

    def __init__(self, address: str, shopper: str, name: str) -> None:
        self.name = name
        self._address = address
        self._shopper = shopper
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._signed_in = False

    @classmethod
    def all(cls, address: str) -> list["DemoShopper"]:
        """Those the shop offers. Raises NotYet while it does not answer."""
        listing = json.loads(_get(urllib.request.build_opener(), f"{address}/demo/weights"))
        return [cls(address, str(row["shopper"]), row["name"]) for row in listing["shoppers"]]

    def personal_model_version(self) -> str:
        """The model behind the home page's panel. Raises NotYet unless the panel is this shopper's own and fresh."""
        if not self._signed_in:
            self._sign_in()
        _get(self._opener, f"{self._address}/")  # asks for a slate if there is none, as a page does
        panel = self.panel()
        if panel["source"] != "fresh":
            raise NotYet(f"the panel's source is still {panel['source']!r}")
        return str(panel["model_version"])

    def panel(self) -> dict[str, Any]:
        """The home page's panel as JSON. Raises NotYet if the shop does not answer."""
        panel: dict[str, Any] = json.loads(_get(self._opener, f"{self._address}/api/recommendations"))
        return panel

    def look_at(self, product_id: str) -> None:
        """Report a look at a product, as its page does. Raises NotYet if the shop does not take it."""
        report = json.dumps({"events": [{"kind": "view", "product_id": product_id}]}).encode()
        headers = {"Content-Type": "application/json", "X-CSRFToken": self._token()}
        _get(self._opener, f"{self._address}/api/events", report, headers)

    def _token(self) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken"), "")

    def _sign_in(self) -> None:
        _get(self._opener, f"{self._address}{self.PAGE}")
        form = urllib.parse.urlencode({"shopper": self._shopper, "csrfmiddlewaretoken": self._token()}).encode()
        _get(self._opener, f"{self._address}/demo/sign-in", form)
        self._signed_in = True


def _get(
    opener: urllib.request.OpenerDirector,
    address: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    head = {"Referer": address, **(headers or {})}
    request = urllib.request.Request(address, body, head)  # noqa: S310 - loopback, given by the launcher
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise NotYet(f"{urllib.parse.urlsplit(address).path} answers {error.code}") from None
    except OSError as error:
        raise NotYet(f"the web server does not answer yet ({error})") from None
