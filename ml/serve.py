"""The model server: SageMaker's serving entry point, ``python -m ml serve``.

    GET  /ping                            200 once the model is loaded and its pages are in memory
    POST /invocations                     a contract Request in, a contract Response out
    POST /endpoints/<name>/invocations    the same, so that boto3 can be pointed straight at a server

One thread a worker, because the answer is pure computation (ml.http). Workers are forked when the model is loaded, so
they share one copy. SageMaker stops a container with SIGTERM and kills it 30 s later; the requests in hand are answered
before it goes. The environment is SageMaker's: SAGEMAKER_BASE_DIR (/opt/ml, the model lies in its ``model``),
SAGEMAKER_BIND_TO_PORT (8080) and SAGEMAKER_MODEL_SERVER_WORKERS (1).
"""

import argparse
import gc
import logging
import os
import re
import signal
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import orjson
import uvloop

from ml import digests
from ml.container import model_directory
from ml.contract import MAX_BYTES, VERSION, ContractError, Query
from ml.errors import MlError
from ml.http import Handler, Request, Response, Server, in_workers

if TYPE_CHECKING:
    from ml.model import Model

INVOCATIONS = re.compile(r"/invocations|/endpoints/[A-Za-z0-9-]{1,63}/invocations")
DRAIN_SECONDS = 25  # of the 30 between SIGTERM and SIGKILL
logger = logging.getLogger(__name__)


class ServeError(MlError):
    """A server that was set up wrongly."""


def handler(model: "Model") -> Handler:
    """What a loaded model says to each request."""

    def answer(request: Request) -> Response:
        method, path, body = request
        if path == "/ping":
            allowed = "GET"
        elif path == "/invocations" or INVOCATIONS.fullmatch(path):
            allowed = "POST"
        else:
            return Response("404 Not Found", _error("no such path; POST /invocations or GET /ping"))
        if method != allowed:
            problem = _error(f"{method} is not allowed on {path}, {allowed} is")
            return Response("405 Method Not Allowed", problem, allowed)
        return invoke(model, body) if allowed == "POST" else Response("200 OK")

    return answer


def invoke(model: "Model", body: bytes) -> Response:
    """A request that breaks the contract is a 400 whose body names the field."""
    try:
        answers = model.reply(body)
    except ContractError as error:
        return Response("400 Bad Request", _error(error.problem, error.field))
    except Exception:
        logger.exception("an answer failed")
        return Response("500 Internal Server Error", _error("the model failed; its log says why"))
    version = orjson.dumps(model.version)
    return Response("200 OK", b'{"version":%d,"model_version":%b,"answers":%b}' % (VERSION, version, answers))


def ready(model: "Model") -> "Model":
    """Do now what the first shopper would otherwise wait for."""
    model.rows.touch()
    query: Query = {
        "slate_id": "warm",
        "history": [{"product_id": model.product_ids[0], "kind": "view", "age": 0.0, "count": 1}],
        "slates": [{"name": name, "limit": 1} for name in model.slates],
    }
    model.answer([query])
    gc.collect()
    gc.freeze()  # the catalogue stays, so no collection during a request needs to walk through it
    return model


def load() -> "Model":
    """The container's model, ready. Raises MlError where it lacks one that can be served."""
    directory = model_directory()
    with digests.fingerprints(directory) as begun:
        from ml import artefact, kernel  # NumPy and what needs it, while other threads hash

        kernel.top = kernel.top_plain  # since importing numba takes longer than a server may until its first answer
        return ready(artefact.verified(directory, begun))


def work(model: "Model", answer: Handler, listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    # A second, and twenty where numba's cache is cold: shoppers get the same answers meanwhile.
    threading.Thread(target=model.compile, name="compile", daemon=True).start()
    uvloop.run(Server(answer, MAX_BYTES, DRAIN_SECONDS).run(listener))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: a container is set up by its environment."""


def run(arguments: argparse.Namespace) -> int:
    port, workers = _whole("SAGEMAKER_BIND_TO_PORT", 8080), _whole("SAGEMAKER_MODEL_SERVER_WORKERS", 1)
    # A container's first process is not ended by a signal that it does not handle, nor may loading outlast it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    model = load()
    try:
        listener = socket.create_server(("0.0.0.0", port))  # noqa: S104  the container's only door, as SageMaker demands
    except OSError as error:
        raise ServeError(f"port {port} cannot be listened on: {error}") from None
    return in_workers(partial(work, model, handler(model), listener), workers)


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ServeError(f"{name} is {text!r:.40}, it must be a whole number from 1 to 65535")
    return int(text)


def _error(problem: str, field: str | None = None) -> bytes:
    return orjson.dumps({"error": problem, "field": field})
