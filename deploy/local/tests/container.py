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
    if "place" in settings:
        climb(float(settings["place"]), int(settings.get("climbs", "1")))
    if "steps" in settings:
        count(int(settings["steps"]))
    if "sleep" in settings:
        time.sleep(float(settings["sleep"]))
    if "lingers" in settings and number_of_this_host() == int(settings["lingers"]):
        time.sleep(0.5)
    if "fails" in settings:
        fail(settings["fails"])
    if "failure" in settings:
        (BASE / "output/failure").write_text(settings["failure"])
    if "exit" in settings:
        sys.exit(int(settings["exit"]))
    checkpoint = BASE / "checkpoints/runs"
    if not checkpoint.parent.exists():  # there is none without a CheckpointConfig
        checkpoint = BASE / "output/runs"
    checkpoint.write_text(str(int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1))
    (BASE / "model/behaviour").write_text(settings.get("behaviour", "well"))
    (BASE / "model/environment").write_text(json.dumps(dict(os.environ)))
    (BASE / "output/data/evaluation.json").write_text(json.dumps({"rows": rows}))


def climb(place: float, steps: int) -> None:
    """Print an objective that is highest at 0.7, step by step."""
    for step in range(1, steps + 1):
        print(f"height={(1 - (place - 0.7) ** 2) * step / steps:.6f}", flush=True)
        time.sleep(0.05 if steps > 1 else 0)


def count(steps: int) -> None:
    """Work that goes on from its checkpoint, at 0.05 s a step; SIGTERM ends it."""
    path = BASE / "checkpoints/step"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    done = int(path.read_text()) if path.exists() else 0
    print(f"starting at step {done}", flush=True)
    for step in range(done + 1, steps + 1):
        time.sleep(0.05)
        unfinished = path.with_name("step.part")
        unfinished.write_text(str(step))
        unfinished.replace(path)


def fail(host: str) -> None:
    """The host of that number fails; the others wait for ever."""
    if number_of_this_host() == int(host):
        (BASE / "output/failure").write_text("too little memory")
        sys.exit(2)
    time.sleep(60)


def number_of_this_host() -> int:
    resources = json.loads((BASE / "input/config/resourceconfig.json").read_text())
    hosts: list[str] = resources["hosts"]
    return hosts.index(resources["current_host"])


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
