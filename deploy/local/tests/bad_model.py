"""Model images that went wrong, for tests: the real server around the real model, and one thing amiss.

BEHAVIOUR=slow|erring|nonsense|strangers|never-healthy python -m deploy.local.tests.bad_model serve
"""

import argparse
import json
import os
import sys
import time

from ml import serve
from ml.contract import VERSION
from ml.http import Handler, Request, Response
from ml.model import Model

SLOW_SECONDS = 1.3  # within the shop's deadline: nothing fails, everything drags
good = serve.handler


def handler(model: Model) -> Handler:
    well = good(model)

    def answer(request: Request) -> Response:
        asked = request.path != "/ping"
        match os.environ["BEHAVIOUR"]:
            case "slow" if asked:
                time.sleep(SLOW_SECONDS)
            case "erring" if asked:
                return Response("500 Internal Server Error", b'{"error": "out of luck"}')
            case "nonsense" if asked:
                return Response("200 OK", b'{"predictions": [[0.1, 0.9]]}')
            case "strangers" if asked:
                return Response("200 OK", strangers(request.body))
            case "never-healthy":
                return Response("503 Service Unavailable")
        return well(request)

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


if __name__ == "__main__":
    serve.handler = handler
    sys.exit(serve.run(argparse.Namespace()))
