"""The control plane: moto over HTTP for S3, CloudWatch, the registry and the rest, with operations of ``sagemaker``."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sagemaker import urls
from moto.sagemaker.models import FakeEndpointConfig
from werkzeug.serving import BaseWSGIServer, make_server

from deploy.local.endpoints import Endpoints
from deploy.local.jobs import Jobs
from deploy.local.replies import SAID, SERVER
from deploy.local.sagemaker import SageMaker
from deploy.local.storage import Storage
from deploy.local.tuning import Tunings

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

log = logging.getLogger("deploy.local")


class Handler(MotoRequestHandler):
    """Says what it is, and writes no line for each request."""

    def version_string(self) -> str:
        return SERVER

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class Control:
    """The server: it listens on ``listener`` from ``start`` to ``close``."""

    def __init__(
        self,
        jobs: Jobs,
        tunings: Tunings,
        endpoints: Endpoints,
        objects: Storage,
        keep: Callable[[], None],
        listener: socket.socket,
    ) -> None:
        SageMaker.jobs, SageMaker.tunings, SageMaker.endpoints = jobs, tunings, endpoints
        urls.url_paths["{0}/$"] = SageMaker.dispatch
        # moto knows 66 instance types of years ago; which ones exist is for AWS to say.
        FakeEndpointConfig.validate_instance_type = lambda self, instance_type: None  # type: ignore[method-assign]
        host, port = listener.getsockname()
        application = kept(DomainDispatcherApplication(create_backend_app), objects, keep)
        self._server: BaseWSGIServer = make_server(
            host, port, application, threaded=True, request_handler=Handler, fd=listener.fileno()
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


def kept(application: Application, objects: Storage, keep: Callable[[], None]) -> Application:
    """moto, with every change on disk before it is confirmed, and clear words where moto would break off."""

    def serve(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        started: list[Any] = []

        def remember(*arguments: Any) -> None:
            started[:] = arguments[:2]

        if not _changes(environ):
            body = _ask(application, environ, remember)
        else:
            with objects.writing:
                body = _ask(application, environ, remember)
                try:
                    keep()
                except OSError as error:
                    log.error("the local cloud cannot keep its state: %s", error)
                    body = _refuse(environ, remember, "507 Insufficient Storage", "InsufficientStorage", str(error))
        status, headers = started
        start_response(status, [*headers, ("X-Local-Cloud", SAID["X-Local-Cloud"])])
        return body

    return serve


def _changes(environ: dict[str, Any]) -> bool:
    """Whether a request may change what is kept: any write to S3, any other call that does not merely read."""
    action = environ.get("HTTP_X_AMZ_TARGET", "")
    if action:
        return not action.rpartition(".")[2].startswith(("Describe", "List", "Get"))
    return environ["REQUEST_METHOD"] in {"PUT", "POST", "DELETE"}


def _ask(application: Application, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    try:
        return list(application(environ, start_response))
    except NotImplementedError as error:
        return _refuse(
            environ, start_response, "501 Not Implemented", "NotImplemented", f"not in the local cloud: {error}"
        )


def _refuse(
    environ: dict[str, Any], start_response: StartResponse, status: str, code: str, message: str
) -> list[bytes]:
    """An error that boto3 can read: in JSON for services that are asked in JSON, else in S3's XML."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        kind, body = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    else:
        kind, body = "application/xml", f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    start_response(status, [("Content-Type", kind)])
    return [body.encode()]
