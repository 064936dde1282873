"""Target tracking that really tracks: as many containers as the calls of the last minute need.

moto keeps Application Auto Scaling's targets and policies. AWS scales in after fifteen quiet minutes of alarms of its
own; here the cooldowns of the policy alone decide.
"""

import datetime
import logging
import math
import time
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.utils import utcnow

from deploy.local import registry
from deploy.local.endpoints import Endpoints
from deploy.local.fleets import MOST_INSTANCES
from deploy.local.metrics import NAMESPACE, statistic

METRIC = "SageMakerVariantInvocationsPerInstance"
COOLDOWN_SECONDS = 300.0
MINUTE = datetime.timedelta(minutes=1)

log = logging.getLogger("deploy.local")


class Scaler:
    """Gives every variant with a policy as many containers as its calls need."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._scaled: dict[tuple[str, str], float] = {}  # when, by region and resource

    def look(self) -> None:
        for region, backend in list(applicationautoscaling_backends[ACCOUNT].items()):
            for key, policy in list(backend.policies.items()):
                target = backend.targets.get(policy.scalable_dimension, {}).get(policy.resource_id)
                if target is None:
                    del backend.policies[key]  # AWS deletes a target's policies with it, moto does not
                else:
                    self._look(region, policy, target)

    def _look(self, region: str, policy: Any, target: Any) -> None:
        settings = policy.target_tracking_scaling_policy_configuration or {}
        metric = settings.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if metric != METRIC or policy.service_namespace != "sagemaker":
            return
        _, name, _, variant = policy.resource_id.split("/")
        endpoint = registry.backend(region).endpoints.get(name)
        if endpoint is None or endpoint.endpoint_status != "InService":
            return
        shown = next((each for each in endpoint.production_variants if each["VariantName"] == variant), None)
        if shown is None:
            return
        present = int(shown["CurrentInstanceCount"])
        wanted = _wanted(region, name, variant, float(settings["TargetValue"]), target)
        kind = "Out" if wanted > present else "In"
        quiet = time.monotonic() - self._scaled.get((region, policy.resource_id), -math.inf)
        suspended = (target.suspended_state or {}).get(f"DynamicScaling{kind}Suspended", False)
        if wanted != present and not suspended and quiet >= settings.get(f"Scale{kind}Cooldown", COOLDOWN_SECONDS):
            log.info("endpoint %s: %s scales from %d to %d", name, variant, present, wanted)
            self._scaled[region, policy.resource_id] = time.monotonic()
            self._endpoints.scale(region, endpoint, variant, wanted)


def _wanted(region: str, endpoint: str, variant: str, each: float, target: Any) -> int:
    now = utcnow()
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    backend = cloudwatch_backends[ACCOUNT][region]
    calls = statistic(backend, NAMESPACE, "Invocations", dimensions, now - MINUTE, now, "Sum") or 0.0
    least, most = int(target.min_capacity or 1), min(int(target.max_capacity or 1), MOST_INSTANCES)
    return max(least, min(most, math.ceil(calls / each)))
