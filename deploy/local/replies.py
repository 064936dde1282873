"""What the data plane replies, with the headers and the errors of SageMaker Runtime."""

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT

from deploy.local.fleets import Fleet, Variant

SERVER = "Aisle local cloud (a stand-in for AWS)"
SAID = {"Server": SERVER, "X-Local-Cloud": "stand-in"}
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"


def answer(variant: Variant, content: bytes, headers: Mapping[str, str]) -> web.Response:
    shown = {**SAID, VARIANT_HEADER: variant.name, "x-amzn-RequestId": str(uuid.uuid4())}
    for name in ("Content-Type", ATTRIBUTES_HEADER):
        if name in headers:
            shown[name] = headers[name]
    return web.Response(body=content, headers=shown)


def model_error(status: int, content: bytes, fleet: Fleet) -> web.Response:
    side = "client" if 400 <= status < 500 else "server"
    text = content.decode(errors="replace")[:4_096]
    stream = f"arn:aws:logs:{fleet.region}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{fleet.name}"
    return error(
        424, "ModelError", f'Received {side} error ({status}) from primary with message "{text}".',
        OriginalStatusCode=status, OriginalMessage=text, LogStreamArn=stream,
    )  # fmt: skip


def error(status: int, code: str, message: str, *, member: str = "Message", **members: object) -> web.Response:
    return json_reply(
        status, {member: message, **members}, {"x-amzn-ErrorType": code, "x-amzn-RequestId": str(uuid.uuid4())}
    )


def json_reply(status: int, content: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=HTTPStatus(status),
        body=json.dumps(content).encode(),
        content_type="application/json",
        headers={**SAID, **(headers or {})},
    )
