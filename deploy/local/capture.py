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

# SageMaker stops capturing on a full disk; here a load test must not fill memory or the developer's disk.
MOST_BYTES = 256_000_000

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
        self._bytes = 0
        self._full = False

    @staticmethod
    def wants(settings: Mapping[str, Any]) -> bool:
        """Whether this call is in the sample."""
        if not settings.get("EnableCapture"):
            return False
        share = float(settings.get("InitialSamplingPercentage", 0))
        return share >= 100 or random.random() * 100 < share  # noqa: S311 - a sample, not a secret

    def add(self, call: Call) -> None:
        self._bytes += len(call.request) + len(call.response)
        if self._bytes <= MOST_BYTES:
            self._calls.append(call)
        elif not self._full:
            self._full = True
            log.warning("data capture stops: %s MB were captured since the start", MOST_BYTES // 1_000_000)

    def take(self) -> list[Call]:
        """What waits, to be written. Called where ``add`` is."""
        calls, self._calls = self._calls, []
        return calls

    def write(self, calls: list[Call]) -> None:
        """Write one object for each endpoint, variant and hour. What cannot be written is dropped."""
        files: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            prefix = str(call.settings["DestinationS3Uri"]).rstrip("/")
            files[f"{prefix}/{call.endpoint}/{call.variant}/{call.time:%Y/%m/%d/%H}"].append(call)
        for folder, batch in files.items():
            name = f"{batch[0].time:%M-%S}-{batch[0].time.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
            lines = "".join(json.dumps(line(call), ensure_ascii=False) + "\n" for call in batch)
            try:
                self._storage.write(f"{folder}/{name}", lines.encode(), "application/x-jsonlines")
            except (NoSuchObject, OSError) as error:
                log.error("%s captured calls are lost: %s", len(batch), error)


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
