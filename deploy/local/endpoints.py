"""Endpoints that really serve: each production variant is a serving container on a loopback port.

Creating and updating happen in a thread of their own. A new fleet is started and healthy before calls move to it; only
then is the old one stopped. A fleet that does not come up leaves the old one in service, as SageMaker's rollback does.
"""

import logging
import random
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.core.utils import utcnow
from moto.sagemaker.exceptions import SagemakerClientError
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, SageMakerModelBackend

from deploy.local import containers, registry
from deploy.local.containers import STARTUP_SECONDS, STOP_SECONDS, Failure, Server
from deploy.local.storage import NoSuchObject, Storage

CLOSE_SECONDS = 8.0  # the grace that containers get when the whole local cloud ends
IN_PROGRESS = frozenset({"Creating", "Updating", "Deleting"})

log = logging.getLogger("deploy.local")


@dataclass(frozen=True, slots=True)
class Variant:
    """One production variant as calls meet it. ``summary`` is moto's own record, whose weight may change."""

    name: str
    server: Server
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """What answers an endpoint's calls now."""

    region: str
    name: str
    config_name: str
    variants: tuple[Variant, ...]
    capture: Mapping[str, Any]
    work: Path

    def choose(self, target: str | None) -> Variant | None:
        """The variant asked for, else one drawn by weight; None if the target is unknown."""
        if target is not None:
            return next((variant for variant in self.variants if variant.name == target), None)
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [float(variant.summary.get("CurrentWeight", 1.0)) for variant in self.variants]
        return random.choices(self.variants, weights if any(weights) else None)[0]  # noqa: S311 - traffic, not secrets


class Endpoints:
    """Every endpoint of this program's life. ``work`` is scratch space, ``logs`` stays."""

    def __init__(
        self,
        storage: Storage,
        keep: Callable[[], None],
        images: Mapping[str, Sequence[str]],
        *,
        work: Path,
        logs: Path,
    ) -> None:
        self._storage = storage
        self._keep = keep
        self._images = images
        self._work = work
        self._logs = logs
        self._live: dict[tuple[str, str], Live] = {}
        self._starting: set[Server] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._threads: list[threading.Thread] = []

    def live(self, region: str, name: str) -> Live | None:
        """What answers an endpoint's calls, or None. Called on the hot path: one dictionary look-up."""
        return self._live.get((region, name))

    def resume(self) -> None:
        """Start the kept endpoints again, each in the background: Creating, then InService."""
        for region, backend in registry.regions():
            for endpoint in backend.endpoints.values():
                if endpoint.endpoint_status != "Failed":
                    self.deploy(region, endpoint, endpoint.endpoint_config_name, "Creating")

    def deploy(self, region: str, endpoint: FakeEndpoint, config_name: str, status: str) -> None:
        """Bring an endpoint to a configuration, in the background; ``status`` is what it shows meanwhile."""
        endpoint.endpoint_status = status
        endpoint.failure_reason = None
        endpoint.last_modified_time = utcnow()
        thread = threading.Thread(
            target=self._deploy, args=(region, endpoint, config_name), name=f"deploy-{endpoint.endpoint_name}"
        )
        self._threads.append(thread)
        thread.start()

    def remove(self, region: str, name: str) -> None:
        """Stop answering an endpoint's calls at once, and its containers in the background."""
        with self._lock:
            live = self._live.pop((region, name), None)
        if live:
            thread = threading.Thread(target=_retire, args=(live, STOP_SECONDS), name=f"retire-{name}")
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop every container, because the local cloud ends."""
        with self._lock:
            self._closing = True
            for server in self._starting:
                server.abandon()
            lives = list(self._live.values())
            self._live.clear()
        with ThreadPoolExecutor(max_workers=max(1, len(lives))) as pool:
            list(pool.map(lambda live: _retire(live, CLOSE_SECONDS), lives))
        for thread in self._threads:
            thread.join()

    def _deploy(self, region: str, endpoint: FakeEndpoint, config_name: str) -> None:
        name = endpoint.endpoint_name
        backend = registry.backend(region)
        try:
            live = self._launch(region, backend, endpoint, config_name)
        except (Failure, NoSuchObject, SagemakerClientError, OSError) as failure:
            self._fail(region, endpoint, str(getattr(failure, "message", failure)))
        except Exception as error:
            log.exception("endpoint %s", name)
            self._fail(region, endpoint, f"InternalServerError: {error!r}")
        else:
            with self._lock:
                wanted = not self._closing and backend.endpoints.get(name) is endpoint
                retired = self._live.get((region, name)) if wanted else live
                if wanted:
                    self._live[region, name] = live
                    _show(endpoint, live)
            if wanted:
                log.info("endpoint %s is in service with %s", name, config_name)
            if retired:
                _retire(retired, STOP_SECONDS)
        self._record()

    def _launch(self, region: str, backend: SageMakerModelBackend, endpoint: FakeEndpoint, config_name: str) -> Live:
        """Start one server for each variant. Raises Failure, with all of them stopped, if one does not get well."""
        config = backend.endpoint_configs.get(config_name)
        if config is None:
            raise Failure(f"the endpoint configuration {config_name} is gone")
        work = self._work / f"endpoint-{endpoint.endpoint_name}-{uuid.uuid4().hex[:8]}"
        summaries = summarise(config)
        servers: list[Server] = []
        try:
            for wanted in config.production_variants:
                servers.append(self._server(region, backend, endpoint.endpoint_name, wanted, work))
            with ThreadPoolExecutor(max_workers=len(servers)) as pool:
                list(pool.map(self._start, servers, config.production_variants))
        except BaseException:
            for server in servers:
                server.stop(CLOSE_SECONDS)
            shutil.rmtree(work, ignore_errors=True)
            raise
        variants = tuple(
            Variant(summary["VariantName"], server, summary) for summary, server in zip(summaries, servers, strict=True)
        )
        return Live(region, endpoint.endpoint_name, config_name, variants, config.data_capture_config or {}, work)

    def _start(self, server: Server, wanted: Mapping[str, Any]) -> None:
        with self._lock:
            if self._closing:
                raise Failure("the local cloud ends")
            self._starting.add(server)
        try:
            server.start(float(wanted.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS))
        finally:
            with self._lock:
                self._starting.discard(server)

    def _server(
        self, region: str, backend: SageMakerModelBackend, endpoint_name: str, wanted: Mapping[str, Any], work: Path
    ) -> Server:
        container = _container(backend, wanted["ModelName"])
        command = containers.command(self._images, container.get("Image", ""), "serve")
        base = work / wanted["VariantName"]
        if url := container.get("ModelDataUrl"):
            containers.unpack(self._storage.read(url), base / "model")
        name = f"endpoint-{endpoint_name}-{wanted['VariantName']}"
        env = containers.environment(base, region, container.get("Environment") or {})
        return Server(name, command, env, self._logs / f"{name}-{work.name[-8:]}.log")

    def _fail(self, region: str, endpoint: Any, reason: str) -> None:
        if self._closing:  # it did not fail: it comes back with the next start
            return
        log.error("endpoint %s: %s", endpoint.endpoint_name, reason)
        endpoint.failure_reason = reason[:1_024]
        endpoint.last_modified_time = utcnow()
        endpoint.endpoint_status = "InService" if self.live(region, endpoint.endpoint_name) else "Failed"

    def _record(self) -> None:
        try:
            self._keep()
        except OSError as error:
            log.error("the endpoints' state is not kept: %s", error)


def summarise(config: FakeEndpointConfig) -> list[dict[str, Any]]:
    """A configuration's variants as DescribeEndpoint shows them."""
    summaries = []
    for variant in config.production_variants:
        weight = float(variant.get("InitialVariantWeight", 1.0))
        count = int(variant.get("InitialInstanceCount", 1))
        summaries.append(
            {
                "VariantName": variant["VariantName"],
                "CurrentWeight": weight,
                "DesiredWeight": weight,
                "CurrentInstanceCount": count,
                "DesiredInstanceCount": count,
            }
        )
    return summaries


def shown_capture(capture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A configuration's data capture as DescribeEndpoint shows it."""
    if not capture:
        return None
    enabled = bool(capture.get("EnableCapture"))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": int(capture["InitialSamplingPercentage"]),
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def _show(endpoint: Any, live: Live) -> None:
    endpoint.endpoint_config_name = live.config_name
    endpoint.production_variants = [variant.summary for variant in live.variants]  # shared: weights may change
    endpoint.data_capture_config = shown_capture(live.capture)
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = "InService"


def _container(backend: SageMakerModelBackend, model_name: str) -> Mapping[str, Any]:
    """The model's one container; one that names a model package gets the package's image and data. Raises Failure."""
    model = backend.describe_model(model_name)
    found: list[Mapping[str, Any]] = [model.primary_container] if model.primary_container else list(model.containers)
    if len(found) != 1:
        raise Failure(f"the local cloud serves models of one container; {model_name} has {len(found)}")
    if package_name := found[0].get("ModelPackageName"):
        package = backend.describe_model_package(package_name)
        if package.model_approval_status != "Approved":
            raise Failure(f"the model package {package_name} is not approved")
        return {**package.inference_specification["Containers"][0], **found[0]}
    return found[0]


def _retire(live: Live, grace: float) -> None:
    with ThreadPoolExecutor(max_workers=len(live.variants)) as pool:
        list(pool.map(lambda variant: variant.server.stop(grace), live.variants))
    shutil.rmtree(live.work, ignore_errors=True)
