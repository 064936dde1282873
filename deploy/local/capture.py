"""Data capture: what endpoints were asked and answered, as JSON lines in S3 where Model Monitor would look for them.

``<DestinationS3Uri>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`` (UTC). Calls only append to a list; lines are
built built and written by ``write``, off the hot path.
"""

import base64
import datetime
import json
import logging
import random
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.storage import NoSuchObject, Storage

# SageMaker stops capturing when a disk fills. Here moto holds objects in memory and reads them at every start, so a
# load test must not leave more than MOST_KEPT below one destination, nor more than MOST_WAITING in between.
MOST_KEPT = 100_000_000
MOST_WAITING = 64_000_000

log = logging.getLogger("deploy.local")


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation, as received and as answered."""

    endpoint: str
    variant: str
    settings: Mapping[str, Any]  # the endpoint's DataCaptureConfig
    time: datetime.datetime
    inference_id: str | None
    request: bytes
    request_type: str
    response: bytes
    response_type: str


class Capture:
    """Calls waiting to be written."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._calls: list[Call] = []
        self._waiting = 0  # bytes
        self._kept: dict[str, int] = {}  # bytes below each destination

    @staticmethod
    def wants(settings: Mapping[str, Any]) -> bool:
        """Whether this call is in the sample."""
        if not settings.get("EnableCapture"):
            return False
        share = float(settings.get("InitialSamplingPercentage", 0))
        return share >= 100 or random.random() * 100 < share  # noqa: S311 - a sample, not a secret

    def add(self, call: Call) -> None:
        size = len(call.request) + len(call.response)
        if self._waiting + size <= MOST_WAITING:
            self._waiting += size
            self._calls.append(call)

    def take(self) -> list[Call]:
        """What waits, to be written. Called where ``add`` is."""
        calls, self._calls = self._calls, []
        self._waiting = 0
        return calls

    def write(self, calls: list[Call]) -> None:
        """Write one object for each endpoint, variant and hour. What cannot be written is dropped."""
        files: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            prefix = str(call.settings["DestinationS3Uri"]).rstrip("/")
            files[f"{prefix}/{call.endpoint}/{call.variant}/{call.time:%Y/%m/%d/%H}"].append(call)
        for folder, batch in files.items():
            name = f"{batch[0].time:%M-%S}-{batch[0].time.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
            lines = "".join(json.dumps(line(call), ensure_ascii=False) + "\n" for call in batch).encode()
            try:
                if self._has_room(str(batch[0].settings["DestinationS3Uri"]), len(lines)):
                    self._storage.write(f"{folder}/{name}", lines, "application/x-jsonlines")
            except (NoSuchObject, OSError) as error:
                log.error("%s captured calls are lost: %s", len(batch), error)

    def _has_room(self, destination: str, size: int) -> bool:
        """Whether so many bytes more may be kept below a destination; says so when it fills up."""
        before = self._kept.get(destination)
        if before is None:
            before = self._storage.size(destination)
        self._kept[destination] = before + size
        if before <= MOST_KEPT < before + size:
            log.warning("data capture stops: %s holds %d MB", destination, before // 1_000_000)
        return before + size <= MOST_KEPT


def line(call: Call) -> dict[str, Any]:
    """The documented line of one call. ``inferenceId`` is there if the caller gave one."""
    modes = {option["CaptureMode"] for option in call.settings.get("CaptureOptions", [])}
    data: dict[str, Any] = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = _side("INPUT", call.request, call.request_type, call.settings)
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = _side("OUTPUT", call.response, call.response_type, call.settings)
    about = {"eventId": str(uuid.uuid4()), "inferenceTime": f"{call.time:%Y-%m-%dT%H:%M:%SZ}"}
    if call.inference_id:
        about["inferenceId"] = call.inference_id
    return {"captureData": data, "eventMetadata": about, "eventVersion": "0"}


def _side(mode: str, body: bytes, content_type: str, settings: Mapping[str, Any]) -> dict[str, str]:
    kinds = settings.get("CaptureContentTypeHeader") or {}
    plain = content_type.split(";")[0].strip()
    encoding = "BASE64"
    if plain in kinds.get("JsonContentTypes", []):
        encoding = "JSON"
    elif plain in kinds.get("CsvContentTypes", []):
        encoding = "CSV"
    text = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode(errors="replace")
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
