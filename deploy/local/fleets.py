"""Fleets: the containers of one endpoint configuration, so many for each variant as it has instances."""

import logging
import random
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.sagemaker.models import FakeEndpointConfig, SageMakerModelBackend

from deploy.local import containers, logs, registry, server
from deploy.local.containers import Failure
from deploy.local.host import Host
from deploy.local.logs import Stream
from deploy.local.server import STOP_SECONDS, Server

CLOSE_SECONDS = 8.0  # the grace that containers get when the whole local cloud ends
MOST_INSTANCES = 8  # of a variant: each is a process of this machine

log = logging.getLogger("deploy.local")


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant as calls meet it. ``summary`` is moto's own record, whose weight and count may change."""

    name: str
    summary: dict[str, Any]
    servers: list[Server]
    another: Callable[[], Server]  # one more of the same, not started
    startup_seconds: float
    shadow: bool = False

    def server(self) -> Server:
        """Whose turn it is: a healthy one with the fewest calls in flight."""
        if len(self.servers) == 1:
            return self.servers[0]
        return min(self.servers, key=lambda each: (not each.healthy, each.calls, random.random()))  # noqa: S311

    @property
    def weight(self) -> float:
        return float(self.summary.get("CurrentWeight", 1.0))


@dataclass(frozen=True, slots=True)
class Fleet:
    """What answers an endpoint's calls under one configuration."""

    region: str
    name: str
    config_name: str
    variants: tuple[Variant, ...]
    shadows: tuple[Variant, ...]
    capture: Mapping[str, Any]
    work: Path

    def choose(self, target: str | None) -> Variant | None:
        """The variant asked for, else one drawn by weight; None if the target is unknown."""
        if target is not None:
            return next((variant for variant in self.variants if variant.name == target), None)
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [variant.weight for variant in self.variants]
        return random.choices(self.variants, weights if any(weights) else None)[0]  # noqa: S311 - traffic, not secrets

    def copies(self, variant: Variant) -> list[Variant]:
        """The shadows that this call goes to as well: each gets its weight's share of the variant's."""
        return [each for each in self.shadows if random.random() * (variant.weight or 1.0) < each.weight]  # noqa: S311

    @property
    def all(self) -> tuple[Variant, ...]:
        return self.variants + self.shadows

    def retire(self, grace: float = STOP_SECONDS) -> None:
        """Stop every container, side by side."""
        servers = [each for variant in self.all for each in variant.servers]
        with ThreadPoolExecutor(max_workers=len(servers)) as pool:
            list(pool.map(lambda each: each.stop(grace), servers))
        shutil.rmtree(self.work, ignore_errors=True)


class Fleets:
    """Starts fleets. ``close`` gives up every start that is under way."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._starting: set[Server] = set()
        self._lock = threading.Lock()
        self._closing = False

    def launch(self, region: str, endpoint: str, config_name: str, counts: Mapping[str, int] | None = None) -> Fleet:
        """Start a configuration's containers. Raises Failure, with all of them stopped, if one does not get well.

        ``counts``: instances by variant, where not the configuration's own.
        """
        backend = registry.backend(region)
        config = backend.endpoint_configs.get(config_name)
        if config is None:
            raise Failure(f"the endpoint configuration {config_name} is gone")
        work = self._host.work / f"endpoint-{endpoint}-{uuid.uuid4().hex[:8]}"
        fleet: list[Variant] = []
        try:
            for wanted, summary, shadow in _variants(config):
                count = (counts or {}).get(wanted["VariantName"], summary["DesiredInstanceCount"])
                summary["CurrentInstanceCount"] = summary["DesiredInstanceCount"] = count
                fleet.append(self._variant(region, backend, endpoint, wanted, summary, work, shadow))
                fleet[-1].servers.extend(fleet[-1].another() for _ in range(count))
            self._start([(each, variant.startup_seconds) for variant in fleet for each in variant.servers])
        except BaseException:
            for each in (one for variant in fleet for one in variant.servers):
                each.stop(CLOSE_SECONDS)
            shutil.rmtree(work, ignore_errors=True)
            raise
        variants = tuple(each for each in fleet if not each.shadow)
        shadows = tuple(each for each in fleet if each.shadow)
        return Fleet(region, endpoint, config_name, variants, shadows, config.data_capture_config or {}, work)

    def resize(self, variant: Variant, count: int) -> None:
        """Start or stop containers until there are so many. Raises Failure, with as many as before."""
        more = [variant.another() for _ in range(count - len(variant.servers))]
        try:
            self._start([(each, variant.startup_seconds) for each in more])
        except BaseException:
            for each in more:
                each.stop(CLOSE_SECONDS)
            raise
        variant.servers.extend(more)
        fewer = variant.servers[count:]
        del variant.servers[count:]
        for each in fewer:
            each.stop(STOP_SECONDS)
        variant.summary["CurrentInstanceCount"] = variant.summary["DesiredInstanceCount"] = count

    def close(self) -> None:
        with self._lock:
            self._closing = True
            for each in self._starting:
                each.abandon()

    def _start(self, servers: list[tuple[Server, float]]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
            list(pool.map(lambda each: self._start_one(*each), servers))

    def _start_one(self, each: Server, timeout: float) -> None:
        with self._lock:
            if self._closing:
                raise Failure("the local cloud ends")
            self._starting.add(each)
        try:
            each.start(timeout)
        finally:
            with self._lock:
                self._starting.discard(each)

    def _variant(
        self,
        region: str,
        backend: SageMakerModelBackend,
        endpoint: str,
        wanted: Mapping[str, Any],
        summary: dict[str, Any],
        work: Path,
        shadow: bool,
    ) -> Variant:
        container = _container(backend, wanted["ModelName"])
        command = containers.command(self._host.images, container.get("Image", ""), "serve")
        base = work / wanted["VariantName"]
        if url := container.get("ModelDataUrl"):
            containers.unpack(self._host.storage.read(url), base / "model")
        env = containers.environment(base, region, container.get("Environment") or {})

        def another() -> Server:
            instance = uuid.uuid4().hex[:17]
            name = f"endpoint-{endpoint}-{wanted['VariantName']}-{instance[:8]}"
            stream = Stream(region, f"{logs.ENDPOINTS}/{endpoint}", f"{wanted['VariantName']}/i-{instance}")
            return Server(name, command, env, self._host.logs / f"{name}.log", stream)

        seconds = float(wanted.get("ContainerStartupHealthCheckTimeoutInSeconds") or server.STARTUP_SECONDS)
        return Variant(wanted["VariantName"], summary, [], another, seconds, shadow)


def _variants(config: FakeEndpointConfig) -> list[tuple[Mapping[str, Any], dict[str, Any], bool]]:
    """Each variant of a configuration, as it was asked for and as it will be shown, and whether it is a shadow."""
    shadows = getattr(config, "shadow_production_variants", None) or []
    return [
        (wanted, summary, shadow)
        for all_wanted, shadow in ((config.production_variants, False), (shadows, True))
        for wanted, summary in zip(all_wanted, summarise(all_wanted), strict=True)
    ]


def summarise(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A configuration's variants as DescribeEndpoint shows them."""
    summaries = []
    for variant in variants:
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
