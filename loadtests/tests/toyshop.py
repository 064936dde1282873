"""Just enough of a shop to be load-tested: what is shown to whom is known, so a run's verdict can be right or wrong."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

WEIGHTS = {"shoppers": [{"shopper": "s1", "weight": 1}], "products": [{"product_id": "p1", "weight": 1}]}


class Shop(ThreadingHTTPServer):
    """Shows strangers what everybody likes, and its shoppers a slate of their own unless it is ``forgetful``."""

    request_queue_size = 200
    daemon_threads = True

    def __init__(self, forgetful: bool) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.forgetful = forgetful
        self.slates = count()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_GET(self) -> None:
        path, source = self.path.partition("?")[0], self._source()
        if path == "/demo/weights":
            self._answer(200, json.dumps(WEIGHTS))
        elif path == "/api/recommendations":
            panel = {"source": source, "products": [{"product_id": "p1"}], "slate_id": str(next(self.server.slates))}
            self._answer(200, json.dumps(panel))
        elif path == "/metrics":
            self._answer(404, "")
        else:
            panel_markup = f'<section id="panel-for_you" data-source="{source}"></section>'
            self._answer(200, f'{panel_markup}<a href="/department/one/">One</a>', "csrftoken=token")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/api/events":
            self._answer(202, '{"accepted": 1}', "known=yes" if self._cookies().get("consents") else "")
        elif self.path == "/demo/sign-in":
            self._answer(302, "", "known=yes")
        elif self.path == "/privacy/choose/":
            self._answer(302, "", "consents=yes" if "choice=yes" in body else "")
        else:
            self._answer(302, "")

    def _source(self) -> str:
        return "fresh" if self._cookies().get("known") and not self.server.forgetful else "popular"

    def _cookies(self) -> SimpleCookie:
        return SimpleCookie(self.headers.get("Cookie", ""))

    def _answer(self, status: int, body: str, cookie: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        if status == 302:
            self.send_header("Location", "/")
        if cookie:
            self.send_header("Set-Cookie", f"{cookie}; Path=/")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def opened(forgetful: bool = False) -> Iterator[Shop]:
    shop = Shop(forgetful)
    thread = threading.Thread(target=shop.serve_forever)
    thread.start()
    try:
        yield shop
    finally:
        shop.shutdown()
        thread.join()
        shop.server_close()
