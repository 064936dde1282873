"""Model images that went wrong, for tests: the real server around the real model, and one thing amiss.

BEHAVIOUR=slow|erring|nonsense|strangers|never-healthy python -m deploy.local.tests.bad_model serve
"""

import json
import os
import time
from collections.abc import Iterable
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from ml import serve
from ml.contract import VERSION
from ml.serve import Application, StartResponse

SLOW_SECONDS = 1.3  # within the shop's deadline: nothing fails, everything drags


def load_application() -> Application:
    well = serve.load_application()

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = environ["PATH_INFO"] != "/ping"
        match os.environ["BEHAVIOUR"]:
            case "slow" if asked:
                time.sleep(SLOW_SECONDS)
            case "erring" if asked:
                return send(start_response, "500 Internal Server Error", b'{"error": "out of luck"}')
            case "nonsense" if asked:
                return send(start_response, "200 OK", b'{"predictions": [[0.1, 0.9]]}')
            case "strangers" if asked:
                return send(start_response, "200 OK", strangers(environ["wsgi.input"].read()))
            case "never-healthy":
                return send(start_response, "503 Service Unavailable", b"")
        return well(environ, start_response)

    return answer


def strangers(body: bytes) -> bytes:
    """Well formed, by the contract, and of products that no shop sells: what only known questions can tell."""
    answers = [
        {
            "slate_id": query["slate_id"],
            "slates": {
                slate["name"]: [{"product_id": f"stranger-{n}", "score": 1.0, "because": None} for n in range(9)]
                for slate in query["slates"]
            },
        }
        for query in json.loads(body)["queries"]
    ]
    return json.dumps({"version": VERSION, "model_version": "strangers", "answers": answers}).encode()


def send(start_response: StartResponse, status: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    Server(
        "deploy.local.tests.bad_model:load_application",
        address="127.0.0.1",
        port=int(os.environ["SAGEMAKER_BIND_TO_PORT"]),
        interface=Interfaces.WSGI,
        blocking_threads=1,
        websockets=False,
        log_level=LogLevels.warning,
        factory=True,
    ).serve()
