"""A demo shopper at the shop's door, over HTTP like everybody: how the launcher knows that all of it works."""

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
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
        panel: dict[str, Any] = json.loads(_get(self._opener, f"{self._address}/api/recommendations"))
        if panel["source"] != "fresh":
            raise NotYet(f"the panel's source is still {panel['source']!r}")
        return str(panel["model_version"])

    def _sign_in(self) -> None:
        _get(self._opener, f"{self._address}{self.PAGE}")
        token = next((cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken"), "")
        form = urllib.parse.urlencode({"shopper": self._shopper, "csrfmiddlewaretoken": token}).encode()
        _get(self._opener, f"{self._address}/demo/sign-in", form)
        self._signed_in = True


def _get(opener: urllib.request.OpenerDirector, address: str, form: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, form, {"Referer": address})  # noqa: S310 - loopback, given by the launcher
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise NotYet(f"{urllib.parse.urlsplit(address).path} answers {error.code}") from None
    except OSError as error:
        raise NotYet(f"the web server does not answer yet ({error})") from None
