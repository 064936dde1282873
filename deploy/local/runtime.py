"""The data plane: SageMaker Runtime's InvokeEndpoint on keep-alive connections, in a thread of its own.

It stands in for ``runtime.sagemaker.<region>.amazonaws.com``: same path, headers and errors, so that unmodified boto3
raises the classes it would raise in production. Signatures must be there but are not verified.
"""

import asyncio
import datetime
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT

from deploy.local import faults, replies
from deploy.local.capture import Call, Capture
from deploy.local.endpoints import Endpoints
from deploy.local.faults import BadFault, Faults, Switch
from deploy.local.fleets import Fleet, Variant
from deploy.local.metrics import Metrics
from deploy.local.replies import ATTRIBUTES_HEADER

FAULTS_PATH = "/local-cloud/faults"
INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([^/,]+)/sagemaker/aws4_request")
MOST_BYTES = 25 * 1024 * 1024  # a real-time endpoint's payload
MODEL_SECONDS = 60.0
FLUSH_SECONDS = 5.0
MOST_COPIES = 64  # under way to shadows; a shadow that is slower than that misses calls

log = logging.getLogger("deploy.local")


class Runtime:
    """The server: ``start`` returns when it listens, ``close`` when it is gone and everything is flushed."""

    def __init__(
        self, endpoints: Endpoints, capture: Capture, metrics: Metrics, listener: socket.socket, switch: Switch
    ) -> None:
        self._endpoints = endpoints
        self._capture = capture
        self._metrics = metrics
        self._listener = listener
        self._switch = switch
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="runtime", daemon=True)
        self._ready: Future[None] = Future()
        self._end = asyncio.Event()
        self._copies: set[asyncio.Task[None]] = set()  # calls to shadows, for the loop itself keeps no hold of them
        self._session: aiohttp.ClientSession

    @property
    def _faults(self) -> Faults:
        return self._switch.now

    def start(self) -> None:
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=MODEL_SECONDS, sock_connect=2.0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        server = web.Server(self._handle, request_factory=_request, access_log=None, keepalive_timeout=3_600.0)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        self._ready.set_result(None)
        while not self._end.is_set():
            try:
                await asyncio.wait_for(self._end.wait(), FLUSH_SECONDS)
            except TimeoutError:
                await self._flush()
        await runner.cleanup()
        for task in self._copies:
            task.cancel()
        await self._session.close()
        await self._flush()

    async def _flush(self) -> None:
        self._metrics.flush()
        await asyncio.to_thread(self._capture.write, self._capture.take())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match = INVOCATIONS.fullmatch(request.path)
        if match and request.method == "POST":
            return await self._invoke(request, match[1])
        if request.path == FAULTS_PATH:
            return await self._faulty(request)
        return replies.error(
            404, "UnknownOperationException", f"{request.method} {request.path} is nothing of the local cloud"
        )

    async def _faulty(self, request: web.BaseRequest) -> web.Response:
        """Show the faults, or replace them."""
        if request.method == "POST":
            try:
                self._switch.now = faults.parse(await request.read())
            except BadFault as bad:
                return replies.json_reply(400, {"error": str(bad), "field": str(bad).partition(":")[0]})
            log.info("faults: %s", self._faults)
        return replies.json_reply(200, self._faults.shown())

    async def _invoke(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        started = time.perf_counter()
        body = await _body(request)
        delayed = await self._suffer(request)
        signed = CREDENTIAL.match(request.headers.get("Authorization", ""))
        if signed is None:
            return replies.error(403, "MissingAuthenticationToken", "Missing Authentication Token")
        if body is None:
            return replies.error(413, "413", f"HTTP content length exceeded {MOST_BYTES} bytes.")
        befallen = self._faults.draw()
        if befallen == "throttle":
            return replies.error(400, "ThrottlingException", "Rate exceeded", member="message")
        if befallen == "error":
            return replies.error(
                503, "ServiceUnavailable", "The service is currently unavailable (a fault of the local cloud)."
            )
        fleet = self._endpoints.fleet(signed[1], name)
        if fleet is None:
            return replies.error(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        target = request.headers.get("X-Amzn-SageMaker-Target-Variant")
        variant = fleet.choose(target)
        if variant is None:
            return replies.error(400, "ValidationError", f"Variant {target} not found in endpoint {name}.")
        if befallen == "nonsense":
            return replies.answer(
                variant, b"<html>nonsense, a fault of the local cloud</html>", {"Content-Type": "text/html"}
            )
        return await self._ask(request, body, fleet, variant, started + delayed, broken=befallen == "model_error")

    async def _suffer(self, request: web.BaseRequest) -> float:
        """Let the call wait as long as the line makes it, or for ever. Returns the seconds."""
        while self._faults.outage == "silent" and request.transport is not None:
            await asyncio.sleep(0.2)
        if self._faults.outage == "reset" and request.transport is not None:
            request.transport.abort()
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        if delay := self._faults.delay():
            await asyncio.sleep(delay)
        return delay

    async def _ask(
        self, request: web.BaseRequest, body: bytes, fleet: Fleet, variant: Variant, started: float, *, broken: bool
    ) -> web.StreamResponse:
        """Pass the call to a container of the variant and its answer back."""
        self._copy(request, body, fleet, variant)
        asked = time.perf_counter()
        status, headers, content = (
            (500, {}, b"a fault of the local cloud") if broken else await self._post(request, body, variant)
        )
        answered = time.perf_counter()
        if 200 <= status < 300:
            response: web.StreamResponse = replies.answer(variant, content, headers)
            if self._capture.wants(fleet.capture):
                self._capture.add(_call(request, body, fleet, variant, headers, content))
        else:
            response = replies.model_error(status, content, fleet)
        self._count(fleet, variant, status, answered - asked, asked - started + time.perf_counter() - answered)
        return response

    def _copy(self, request: web.BaseRequest, body: bytes, fleet: Fleet, variant: Variant) -> None:
        """Ask the shadows too. Their answers are captured and dropped, and nobody waits for them."""
        for shadow in fleet.copies(variant):
            if len(self._copies) < MOST_COPIES:
                task = asyncio.create_task(self._ask_shadow(request, body, fleet, shadow))
                self._copies.add(task)
                task.add_done_callback(self._copies.discard)

    async def _ask_shadow(self, request: web.BaseRequest, body: bytes, fleet: Fleet, shadow: Variant) -> None:
        asked = time.perf_counter()
        status, headers, content = await self._post(request, body, shadow)
        self._count(fleet, shadow, status, time.perf_counter() - asked, 0.0)
        if 200 <= status < 300 and self._capture.wants(fleet.capture):
            self._capture.add(_call(request, body, fleet, shadow, headers, content))

    def _count(self, fleet: Fleet, variant: Variant, status: int, model: float, overhead: float) -> None:
        self._metrics.add(
            fleet.region, fleet.name, fleet.config_name, variant.name, instances=len(variant.servers), status=status,
            model_seconds=model, overhead_seconds=max(0.0, overhead),
            in_flight=1 + sum(each.calls for each in variant.servers),
        )  # fmt: skip

    async def _post(
        self, request: web.BaseRequest, body: bytes, variant: Variant
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The container's status, headers and body; status 0 if it did not answer."""
        server = variant.server()
        url = f"http://127.0.0.1:{server.port}/invocations"
        passed = {
            name: request.headers[name]
            for name in ("Content-Type", "Accept", ATTRIBUTES_HEADER)
            if name in request.headers
        }
        server.calls += 1
        try:
            for attempt in (1, 2):
                try:
                    async with self._session.post(url, data=_payload(body), headers=passed) as response:
                        return response.status, response.headers, await response.read()
                except aiohttp.ServerDisconnectedError:
                    if attempt == 2:  # the first may have met a kept connection that the container had closed
                        raise
            raise AssertionError("unreachable")
        except TimeoutError:
            return 0, {}, b"Your invocation timed out while waiting for a response from container primary."
        except (aiohttp.ClientError, OSError) as error:
            return 0, {}, f"The container primary did not answer: {error}".encode()
        finally:
            server.calls -= 1


def _request(
    message: RawRequestMessage,
    payload: aiohttp.StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """What web.Server makes of a request's head, with SageMaker's limit on its body instead of aiohttp's 1 MB."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BYTES)


def _payload(body: bytes) -> bytes | io.BytesIO:
    """aiohttp sends large bodies in pieces only if they are files."""
    return body if len(body) < 1_000_000 else io.BytesIO(body)


async def _body(request: web.BaseRequest) -> bytes | None:
    """A call's body; None if it is too long, which a call that says so does not have to prove."""
    if (request.content_length or 0) > MOST_BYTES:
        return None
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return None


def _call(
    request: web.BaseRequest, body: bytes, fleet: Fleet, variant: Variant, headers: Mapping[str, str], content: bytes
) -> Call:
    return Call(
        endpoint=fleet.name,
        variant=variant.name,
        settings=fleet.capture,
        time=datetime.datetime.now(datetime.UTC),
        inference_id=request.headers.get("X-Amzn-SageMaker-Inference-Id"),
        request=body,
        request_type=request.headers.get("Content-Type", ""),
        response=content,
        response_type=headers.get("Content-Type", ""),
    )
