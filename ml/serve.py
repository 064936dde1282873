"""The model server: SageMaker's serving entry point, ``python -m ml serve``.

    GET  /ping                            200 once the model is loaded and its pages are in memory
    POST /invocations                     a contract Request in, a contract Response out
    POST /endpoints/<name>/invocations    the same, so that boto3 can be pointed straight at a server

WSGI without a framework: one blocking thread a worker, because the answer is pure computation. The files are
memory-mapped, so workers share one copy. SageMaker stops a container with SIGTERM and kills it 30 s later; granian
finishes the requests in hand and goes. The environment is SageMaker's: SAGEMAKER_BASE_DIR (/opt/ml, the model lies in
its ``model``), SAGEMAKER_BIND_TO_PORT (8080) and SAGEMAKER_MODEL_SERVER_WORKERS (1).
"""

import argparse
import gc
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from ml.container import model_directory
from ml.contract import CONTENT_TYPE, MAX_BYTES, VERSION, ContractError, Query
from ml.errors import MlError
from ml.request import queries_of

if TYPE_CHECKING:
    from ml.model import Model

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

INVOCATIONS = re.compile(r"/invocations|/endpoints/[A-Za-z0-9-]{1,63}/invocations")
DRAIN_SECONDS = 25  # of the 30 between SIGTERM and SIGKILL
logger = logging.getLogger(__name__)


class ServeError(MlError):
    """A server that was set up wrongly."""


def application(model: "Model") -> Application:
    """The WSGI callable over a loaded model."""

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/ping":
            allowed, status, body = "GET", "200 OK", b""
        elif path == "/invocations" or INVOCATIONS.fullmatch(path):
            allowed = "POST"
            status, body = invoke(model, environ) if method == "POST" else ("", b"")
        else:
            return _send(start_response, "404 Not Found", _error("no such path; POST /invocations or GET /ping"))
        if method != allowed:
            problem = _error(f"{method} is not allowed on {path}, {allowed} is")
            return _send(start_response, "405 Method Not Allowed", problem, ("Allow", allowed))
        return _send(start_response, status, body)

    return answer


def invoke(model: "Model", environ: dict[str, Any]) -> tuple[str, bytes]:
    """Status and body. A request that breaks the contract is a 400 whose body names the field."""
    try:
        queries = queries_of(_body(environ))
    except ContractError as error:
        return "400 Bad Request", _error(error.problem, error.field)
    try:
        answers = model.recommend(queries)
    except Exception:
        logger.exception("an answer failed")
        return "500 Internal Server Error", _error("the model failed; its log says why")
    return "200 OK", orjson.dumps({"version": VERSION, "model_version": model.version, "answers": answers})


def _body(environ: dict[str, Any]) -> bytes:
    """The body, or as much of it as shows that it is too long; the rest is read away so that the sender gets a 400."""
    source = environ["wsgi.input"]
    body: bytes = source.read(MAX_BYTES + 1)
    for _ in range(16):
        if len(body) <= MAX_BYTES or not source.read(MAX_BYTES):
            break
    return body


def ready(model: "Model") -> "Model":
    """Do now what the first shopper would otherwise wait for."""
    model.rows.touch()
    query: Query = {
        "slate_id": "warm",
        "history": [{"product_id": model.product_ids[0], "kind": "view", "age": 0.0, "count": 1}],
        "slates": [{"name": name, "limit": 1} for name in model.slates],
    }
    model.recommend([query])
    gc.collect()
    gc.freeze()  # the catalogue stays, so no collection during a request needs to walk through it
    return model


def load_application() -> Application:
    """What each worker calls; granian answers requests when this returns, so /ping means ready."""
    from ml import (
        artefact,
        kernel,
    )  # here, because the process that watches the workers needs neither NumPy nor a model

    kernel.top = kernel.top_plain
    try:
        model = ready(artefact.load(model_directory()))
    except MlError as error:
        print(f"serve: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # Importing numba takes a second, and twenty where its cache is cold: shoppers get the same answers meanwhile.
    threading.Thread(target=model.compile, name="compile", daemon=True).start()
    return application(model)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: a container is set up by its environment."""


def run(arguments: argparse.Namespace) -> int:
    Server(
        "ml.serve:load_application",
        address="0.0.0.0",  # noqa: S104  the container's only door, as SageMaker demands
        port=_whole("SAGEMAKER_BIND_TO_PORT", 8080),
        interface=Interfaces.WSGI,
        workers=_whole("SAGEMAKER_MODEL_SERVER_WORKERS", 1),
        blocking_threads=1,
        websockets=False,
        log_level=LogLevels.warning,
        workers_kill_timeout=DRAIN_SECONDS,
        factory=True,
    ).serve()
    return 0


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ServeError(f"{name} is {text!r:.40}, it must be a whole number from 1 to 65535")
    return int(text)


def _error(problem: str, field: str | None = None) -> bytes:
    return orjson.dumps({"error": problem, "field": field})


def _send(start_response: StartResponse, status: str, body: bytes, *more: tuple[str, str]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body))), *more])
    return [body]
