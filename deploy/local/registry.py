"""What moto holds of SageMaker on disk, and the alarms and the autoscaling that belong to endpoints.

moto's resources are plain bags of attributes. One JSON file holds them all and is replaced after every request that may
have changed one; on the next start they are put back into the same backend, with their dates, versions and approvals.
"""

import datetime
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moto.applicationautoscaling.models import (
    FakeApplicationAutoscalingPolicy,
    FakeScalableTarget,
    applicationautoscaling_backends,
)
from moto.cloudwatch.models import Alarm, Dimension, Metric, MetricDataQuery, MetricStat, cloudwatch_backends
from moto.core.base_backend import BaseBackend
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.sagemaker import models
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends

from deploy.local.storage import CorruptState, replace

# moto's own tables, by the attribute that holds each: whose it is, and what a row of it is (None: plain values).
# Metrics are not kept: an alarm begins again with what it sees from now on.
TABLES: Mapping[str, tuple[Any, type | None]] = {
    "_models": (sagemaker_backends, models.Model),
    "endpoint_configs": (sagemaker_backends, models.FakeEndpointConfig),
    "endpoints": (sagemaker_backends, models.FakeEndpoint),
    "training_jobs": (sagemaker_backends, models.FakeTrainingJob),
    "hyper_parameter_tuning_jobs": (sagemaker_backends, models.HyperParameterTuningJob),
    "model_package_groups": (sagemaker_backends, models.ModelPackageGroup),
    "model_packages": (sagemaker_backends, models.ModelPackage),
    "model_package_name_mapping": (sagemaker_backends, None),
    "alarms": (cloudwatch_backends, Alarm),
    "policies": (applicationautoscaling_backends, FakeApplicationAutoscalingPolicy),
    "targets": (applicationautoscaling_backends, None),
}
# What a row may hold besides plain values, by its name.
OBJECTS: Mapping[str, type] = {
    each.__name__: each for each in (Dimension, Metric, MetricStat, MetricDataQuery, FakeScalableTarget)
}


def backend(region: str) -> SageMakerModelBackend:
    """moto's SageMaker of one region."""
    return sagemaker_backends[ACCOUNT][region]


def regions() -> Iterator[tuple[str, SageMakerModelBackend]]:
    """Every region that was used."""
    yield from list(sagemaker_backends[ACCOUNT].items())


class Registry:
    """The kept copy in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept = b""

    def keep(self) -> None:
        """Write what moto holds, if it changed. Raises OSError when the disk is full."""
        with self._lock:
            tables = {region: _tables(region) for region, _ in regions()}
            text = json.dumps(tables, default=_encode).encode()
            if text != self._kept:
                replace(self._path, text)
                self._kept = text

    def restore(self) -> None:
        """Give moto what was kept. Raises CorruptState."""
        if not self._path.exists():
            return
        try:
            for region, tables in json.loads(self._path.read_bytes(), object_hook=_decode).items():
                for table, rows in tables.items():
                    owner, kind = TABLES[table]
                    kept = {name: _row(kind, attributes) for name, attributes in rows.items()}
                    getattr(owner[ACCOUNT][region], table).update(kept)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CorruptState(self._path, str(error)) from None


def _tables(region: str) -> dict[str, dict[str, Any]]:
    return {
        table: {
            name: row if kind is None else dict(vars(row))
            for name, row in list(getattr(owner[ACCOUNT][region], table).items())
        }
        for table, (owner, kind) in TABLES.items()
    }


def _row(kind: type | None, attributes: Any) -> Any:
    if kind is None:
        return attributes
    row: Any = object.__new__(kind)
    vars(row).update(attributes)
    return row


def _encode(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Mapping):  # moto's case-insensitive parameters
        return dict(value)
    if isinstance(value, uuid.UUID):  # part of a policy's name, which is made once
        return str(value)
    if type(value).__name__ in OBJECTS:
        attributes = {name: each for name, each in vars(value).items() if not isinstance(each, BaseBackend)}
        return {"$object": type(value).__name__, **attributes}
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _decode(value: dict[str, Any]) -> Any:
    if value.keys() == {"$time"}:
        return datetime.datetime.fromisoformat(value["$time"])
    if "$object" in value:
        return _row(OBJECTS[value.pop("$object")], value)
    return value
