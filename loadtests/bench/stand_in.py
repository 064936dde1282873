"""A stand-in for the endpoint that fills slates without a model: ``python -m loadtests.bench.stand_in PORT CSV``.

It speaks the wire of InvokeEndpoint and answers each slate with products drawn at random, each with a reason out of
the history that was sent. Its answers mean nothing; their size and shape are real.
"""

import csv
import json
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_ids: list[str] = []


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = [
            {"slate_id": query["slate_id"], "slates": {slate["name"]: items(query, slate) for slate in query["slates"]}}
            for query in request["queries"]
        ]
        body = json.dumps({"version": request["version"], "model_version": "stand-in", "answers": answers}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def items(query: dict[str, Any], slate: dict[str, Any]) -> list[dict[str, Any]]:
    history = [item["product_id"] for item in query["history"]]
    chosen = random.sample(_ids, slate["limit"])
    if slate["name"] == "again":
        chosen = list(dict.fromkeys(history))[: slate["limit"]]
    return [
        {"product_id": product_id, "score": 1 / (n + 1), "because": random.choice(history) if history else None}
        for n, product_id in enumerate(chosen)
    ]


if __name__ == "__main__":
    with Path(sys.argv[2]).open(newline="") as file:
        _ids.extend(row["product_id"] for row in csv.DictReader(file))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
