"""One CreateEndpoint or UpdateEndpoint, from its start to its end: the new fleet beside the old, calls moved step by
step while alarms are watched, the old fleet ended; or everything taken back.

A deployment that is taken back leaves the endpoint InService on its former configuration with a FailureReason, as
SageMaker does; the words of the reason are ours.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from moto.core.utils import utcnow
from moto.sagemaker.exceptions import SagemakerClientError

from deploy.local import alarms, registry
from deploy.local.containers import Failure
from deploy.local.fleets import Fleet, Fleets
from deploy.local.policy import AT_ONCE, Policy
from deploy.local.routes import Route, Routes
from deploy.local.storage import NoSuchObject

LOOK_SECONDS = 0.2
REASON_LIMIT = 1_024

log = logging.getLogger("deploy.local")


class TakenBack(Exception):
    """The new fleet must not serve; the text says why."""


class Unwanted(Exception):
    """The endpoint was deleted meanwhile, or the local cloud ends."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an endpoint shall become. ``retained``: properties of the present variants that outlive the update."""

    config_name: str
    policy: Policy = AT_ONCE
    retained: frozenset[str] = frozenset()


class Deployment(threading.Thread):
    """``endpoint`` is moto's record, which DescribeEndpoint shows; this thread writes into it."""

    def __init__(
        self, region: str, endpoint: Any, wish: Wish, routes: Routes, fleets: Fleets, keep: Callable[[], None]
    ) -> None:
        super().__init__(name=f"deploy-{endpoint.endpoint_name}")
        self._region, self._endpoint, self._wish = region, endpoint, wish
        self._routes, self._fleets, self._keep = routes, fleets, keep
        self._name: str = endpoint.endpoint_name
        self._began = utcnow()
        self._deadline = time.monotonic() + wish.policy.limit

    def run(self) -> None:
        try:
            self._deploy()
        except Unwanted:
            return  # it did not fail: it is gone, or comes back with the next start
        except (Failure, NoSuchObject, SagemakerClientError, OSError, TakenBack) as failure:
            self._fail(str(getattr(failure, "message", failure)))
        except Exception as error:
            log.exception("endpoint %s", self._name)
            self._fail(f"InternalServerError: {error!r}")
        finally:
            try:
                self._keep()
            except OSError as error:
                log.error("the endpoints' state is not kept: %s", error)

    def _deploy(self) -> None:
        old = self._routes.get(self._region, self._name)
        blue = old.blue if old else None
        self._stage("Creating")
        try:
            green = self._launch(blue)
        except Exception:
            if self._is_unwanted():
                raise Unwanted from None
            raise
        try:
            if blue:
                self._move(blue, green)
            self._finish(green)
        except Exception:
            if blue and not self._is_unwanted():
                self._routes.set(self._region, self._name, Route(blue))
            self._stage("Deleting")
            green.retire()
            raise
        if blue:
            blue.retire()

    def _launch(self, blue: Fleet | None) -> Fleet:
        """The new fleet, with what it keeps of the old one's variants."""
        before = {variant.name: variant.summary for variant in blue.all} if blue else {}
        kept = self._wish.retained
        counts = {name: int(summary["DesiredInstanceCount"]) for name, summary in before.items()}
        green = self._fleets.launch(
            self._region, self._name, self._wish.config_name, counts if "DesiredInstanceCount" in kept else None
        )
        if "DesiredWeight" in kept:
            for variant in green.all:
                if old := before.get(variant.name):
                    variant.summary.update({field: old[field] for field in ("CurrentWeight", "DesiredWeight")})
        return replace(green, capture=blue.capture) if blue and "DataCaptureConfig" in kept else green

    def _move(self, blue: Fleet, green: Fleet) -> None:
        """Take calls over step by step. Raises TakenBack or Unwanted."""
        policy = self._wish.policy
        for share in policy.steps:
            self._stage("ActivatingTraffic", green, share)
            self._routes.set(self._region, self._name, Route(blue, green, share))
            log.info("endpoint %s: %s gets %.0f %% of the calls", self._name, green.config_name, 100 * share)
            self._stage("Baking", green, share)
            self._watch(policy.bake if share < 1.0 else policy.keep)

    def _watch(self, seconds: float) -> None:
        """Let time pass as long as nothing is wrong. Raises TakenBack or Unwanted."""
        until = time.monotonic() + seconds
        while True:
            if self._is_unwanted():
                raise Unwanted
            if why := alarms.fired(self._region, self._wish.policy.alarms, self._began):
                raise TakenBack(why)
            now = time.monotonic()
            if now > self._deadline:
                raise TakenBack("the deployment took longer than MaximumExecutionTimeoutInSeconds")
            if now >= until:
                return
            self._routes.closed.wait(min(LOOK_SECONDS, until - now))

    def _finish(self, green: Fleet) -> None:
        if self._is_unwanted() or not self._routes.set(self._region, self._name, Route(green)):
            raise Unwanted
        show(self._endpoint, green)
        log.info("endpoint %s is in service with %s", self._name, green.config_name)

    def _is_unwanted(self) -> bool:
        known = registry.backend(self._region).endpoints.get(self._name)
        return self._routes.closed.is_set() or known is not self._endpoint

    def _stage(self, status: str, green: Fleet | None = None, share: float = 0.0) -> None:
        """What DescribeEndpoint says of the deployment that is under way."""
        step = {"Status": status, "StartTime": utcnow()}

        def shown(shadow: bool) -> list[Mapping[str, Any]]:
            return [
                {**variant.summary, "CurrentWeight": share * variant.weight, "VariantStatus": [step]}
                for variant in (green.all if green else ())
                if variant.shadow == shadow
            ]

        summary = {"EndpointConfigName": self._wish.config_name, "StartTime": self._began}
        if green is None:
            summary["ProductionVariants"] = [
                {"VariantName": name, "VariantStatus": [step]} for name in _names(self._region, self._wish.config_name)
            ]
        else:
            summary["ProductionVariants"] = shown(False)
            if green.shadows:
                summary["ShadowProductionVariants"] = shown(True)
        self._endpoint.pending_deployment_summary = summary

    def _fail(self, reason: str) -> None:
        log.error("endpoint %s: %s", self._name, reason)
        self._endpoint.failure_reason = reason[:REASON_LIMIT]
        self._endpoint.last_modified_time = utcnow()
        self._endpoint.pending_deployment_summary = None
        serving = self._routes.get(self._region, self._name)
        self._endpoint.endpoint_status = "InService" if serving else "Failed"


def show(endpoint: Any, fleet: Fleet) -> None:
    """Let DescribeEndpoint say that a fleet is what serves. Its summaries are shared, for weights may change."""
    endpoint.endpoint_config_name = fleet.config_name
    endpoint.production_variants = [variant.summary for variant in fleet.variants]
    endpoint.shadow_production_variants = [variant.summary for variant in fleet.shadows] or None
    endpoint.data_capture_config = shown_capture(fleet.capture)
    endpoint.pending_deployment_summary = None
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = "InService"


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


def _names(region: str, config_name: str) -> list[str]:
    config = registry.backend(region).endpoint_configs.get(config_name)
    return [variant["VariantName"] for variant in config.production_variants] if config else []
