"""A stand-in for the model's endpoint that can be broken on purpose. test_fake_is_honest.py holds it to ml.serve."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ml import contract

MODEL_VERSION = "fake-1"


class FakeEndpoint:
    """An HTTP server on loopback that answers InvokeEndpoint in the contract's words, or as ``fault`` says.

    ``fault``: "" | "slow" | "trickle" | "html" | "nonsense" | "version" | "other answers" | "424" | "refusing model"
    | "throttle" | "500" | "hang up" | "hang up once". ``refuses`` is a product that makes a request a 400.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.refuses = ""
        self.pause = 0.0
        self.model_version = MODEL_VERSION
        self.requests: list[contract.Request] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.trickling = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def queries(self) -> list[contract.Query]:
        return [query for request in self.requests for query in request["queries"]]

    def answer(self, request: contract.Request) -> contract.Response:
        """Products r00, r01… for every slate, less what is excluded; the first of the history is the reason."""
        answers = []
        for query in request["queries"]:
            because = query["history"][0]["product_id"] if query["history"] else None
            slates: dict[str, list[contract.Recommendation]] = {}
            for slate in query["slates"]:
                shown = [one for one in (f"r{n:02}" for n in range(99)) if one not in slate.get("exclude", ())]
                slates[slate["name"]] = [
                    contract.Recommendation(
                        product_id=one, score=1.0 - n / 100, because=None if slate["name"] == "popular" else because
                    )
                    for n, one in enumerate(shown[: slate["limit"]])
                ]
            answers.append(contract.Answer(slate_id=query["slate_id"], slates=slates))
        return contract.Response(version=contract.VERSION, model_version=self.model_version, answers=answers)

    def _handler(fake: "FakeEndpoint") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with fake.lock:
                    fake.at_once += 1
                    fake.most_at_once = max(fake.most_at_once, fake.at_once)
                try:
                    fake.respond(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with fake.lock:
                        fake.at_once -= 1

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            request = contract.parse_request(body)
        except contract.ContractError as error:
            return _send(handler, 400, {"error": error.problem, "field": error.field})
        with self.lock:
            self.requests.append(request)
            self.headers.append(dict(handler.headers))
        self.gate.wait(30)
        time.sleep(self.pause)
        if self.refuses and self.refuses in json.dumps(request):
            return _send(handler, 400, {"error": "refused", "field": "queries[0]"})
        return self._faulty(handler, request)

    def _faulty(self, handler: BaseHTTPRequestHandler, request: contract.Request) -> None:
        answer: Any = self.answer(request)
        match self.fault:
            case "slow":
                time.sleep(1.5)
            case "trickle":
                return self._trickle(handler)
            case "html":
                return _send(handler, 200, b"<html>maintenance</html>")
            case "nonsense":
                answer["answers"][0]["slates"] = {"for_you": [{"product_id": 7, "score": "high"}]}
            case "version":
                answer["version"] = 99
            case "other answers":
                answer["answers"] = [{**one, "slate_id": f"not-{one['slate_id']}"} for one in answer["answers"]]
            case "424":
                told = {"Message": "Received server error (500)", "OriginalStatusCode": 500, "OriginalMessage": "no"}
                return _send(handler, 424, told, "ModelError")
            case "refusing model":
                told = {"Message": "Received client error (400)", "OriginalStatusCode": 400, "OriginalMessage": "no"}
                return _send(handler, 424, told, "ModelError")
            case "throttle":
                return _send(handler, 400, {"message": "Rate exceeded"}, "ThrottlingException")
            case "500":
                return _send(handler, 500, {"Message": "oops"}, "InternalFailure")
            case "missing":
                return _send(handler, 400, {"Message": "Endpoint aisle not found."}, "ValidationError")
            case "hang up once":
                self.fault = ""
                handler.close_connection = True
                return None
            case "hang up":
                handler.close_connection = True
                return None
        return _send(handler, 200, answer)

    def _trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """A byte at a time, for ever: each one sooner than any read timeout."""
        self.trickling += 1
        try:
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
            for _ in range(400):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)
        finally:
            self.trickling -= 1


def _send(handler: BaseHTTPRequestHandler, status: int, message: Any, error: str = "") -> None:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", contract.CONTENT_TYPE)
    handler.send_header("Content-Length", str(len(body)))
    if error:
        handler.send_header("x-amzn-ErrorType", error)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def running() -> Iterator[FakeEndpoint]:
    fake = FakeEndpoint()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.gate.set()
        fake.server.shutdown()
        thread.join()
        fake.server.server_close()
