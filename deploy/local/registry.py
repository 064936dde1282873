"""SageMaker's resources on disk: models, packages, endpoint configurations, endpoints and jobs as moto holds them.

moto's resources are plain bags of attributes. One JSON file holds them all and is replaced after every request that may
have changed one; on the next start they are put back into the same backend, with their dates, versions and approvals.
"""

import datetime
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.sagemaker import models
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends

from deploy.local.storage import CorruptState, replace

# moto's own tables, by the attribute that holds each, and what a row of it is (None: text).
TABLES: Mapping[str, type | None] = {
    "_models": models.Model,
    "endpoint_configs": models.FakeEndpointConfig,
    "endpoints": models.FakeEndpoint,
    "training_jobs": models.FakeTrainingJob,
    "model_package_groups": models.ModelPackageGroup,
    "model_packages": models.ModelPackage,
    "model_package_name_mapping": None,
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
            tables = {region: _tables(found) for region, found in regions()}
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
                    getattr(backend(region), table).update(
                        {name: _row(TABLES[table], attributes) for name, attributes in rows.items()}
                    )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CorruptState(self._path, str(error)) from None


def _tables(found: SageMakerModelBackend) -> dict[str, dict[str, Any]]:
    return {
        table: {name: row if kind is None else dict(vars(row)) for name, row in list(getattr(found, table).items())}
        for table, kind in TABLES.items()
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
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _decode(value: dict[str, Any]) -> Any:
    return datetime.datetime.fromisoformat(value["$time"]) if value.keys() == {"$time"} else value
