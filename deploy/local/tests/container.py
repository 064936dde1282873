"""A container small enough for tests of its life: ``python container.py train|serve``, told how to behave.

Training obeys its hyperparameters, serving the ``behaviour`` that training wrote into the model.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

hanging = threading.Event()
BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])


def train() -> None:
    settings = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    channels = json.loads((BASE / "input/config/inputdataconfig.json").read_text())
    rows = sum(path.read_bytes().count(b"\n") for path in (BASE / "input/data").rglob("*") if path.is_file())
    if settings.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"training {os.environ['TRAINING_JOB_NAME']} on {sorted(channels)}", flush=True)
    print(f"recall={settings.get('recall', '0.25')} rows={rows}", flush=True)
    print("coverage=0.5", end="", flush=True)  # the last line may lack its end
    if "sleep" in settings:
        time.sleep(float(settings["sleep"]))
    if "failure" in settings:
        (BASE / "output/failure").write_text(settings["failure"])
    if "exit" in settings:
        sys.exit(int(settings["exit"]))
    checkpoint = BASE / "checkpoints/runs"
    checkpoint.write_text(str(int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1))
    (BASE / "model/behaviour").write_text(settings.get("behaviour", "well"))
    (BASE / "model/environment").write_text(json.dumps(dict(os.environ)))
    (BASE / "output/data/evaluation.json").write_text(json.dumps({"rows": rows}))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self) -> None:
        while hanging.is_set():
            time.sleep(0.05)
        self.answer(503 if behaviour() == "never healthy" else 200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"die":
            os._exit(3)
        if body == b"hang":
            hanging.set()
        if behaviour() == "erring":
            return self.answer(500, b"it does not work")
        if behaviour() == "slow":
            time.sleep(0.3)
        if body == b"wrong":
            return self.answer(400, b'{"error": "queries: must be a list"}')
        if body.startswith(b"sleep "):
            time.sleep(float(body.split()[1]))
        answer = {"model": behaviour(), "asked": body.decode(), "pid": os.getpid()}
        return self.answer(200, json.dumps(answer).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def behaviour() -> str:
    return (BASE / "model/behaviour").read_text()


def serve() -> None:
    print(f"serving {behaviour()}", flush=True)
    if behaviour() == "stillborn":
        sys.exit("the model is of no use")
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()
