"""The server as SageMaker starts it: a process, a port, a really trained small model, real HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ml import contract
from ml.contract import parse_response
from ml.model import Model

GOLDEN = Path(__file__).parent / "golden"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(base: Path, port: int | str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-m", "ml", "serve"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def call(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def wait_until_ready(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        try:
            if call(port, "GET", "/ping")[0] == 200:
                return
        except OSError:
            pass
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no /ping within 30 s")


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[int]:
    port = free_port()
    process = start(model_folder.parent, port)
    try:
        wait_until_ready(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        process.communicate()


def body(**changes: Any) -> bytes:
    history = [{"product_id": "p00", "kind": "purchase", "age": 60.0, "count": 1}]
    query = {"slate_id": "one", "history": history, "slates": [{"name": "for_you", "limit": 5}], **changes}
    return json.dumps({"version": contract.VERSION, "queries": [query]}).encode()


def test_ping_is_an_empty_200(server: int) -> None:
    assert call(server, "GET", "/ping") == (200, None)


def test_an_answer_over_http_is_the_models_own(server: int, model: Model) -> None:
    status, answer = call(server, "POST", "/invocations", body())

    assert status == 200
    assert answer["model_version"] == model.version
    assert answer["answers"] == model.recommend(json.loads(body())["queries"])
    assert parse_response(json.dumps(answer).encode()) == answer


def test_boto3_can_be_pointed_straight_at_the_server(server: int) -> None:
    assert call(server, "POST", "/endpoints/aisle/invocations", body()) == call(server, "POST", "/invocations", body())


def test_the_golden_request_is_answered_query_by_query(server: int) -> None:
    request = json.loads((GOLDEN / "request-v1.json").read_text())

    status, answer = call(server, "POST", "/invocations", json.dumps(request).encode())

    assert status == 200
    for query, found in zip(request["queries"], answer["answers"], strict=True):
        assert found["slate_id"] == query["slate_id"]
        assert set(found["slates"]) == {slate["name"] for slate in query["slates"]}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b'{"version": 1, "queries": [{"slate_id": NaN}]}', "body"),
        (b"[" * 100_000, "body"),
        (b'{"version": 9, "queries": []}', "version"),
        (body(slate_id=""), "queries[0].slate_id"),
        (body(slates=[{"name": "for_you", "limit": 10**9}]), "queries[0].slates[0].limit"),
        (body(history=[{"product_id": "p00"}]), "queries[0].history[0].kind"),
    ],
)
def test_a_breach_of_the_contract_is_a_400_that_names_the_field(server: int, content: bytes, field: str) -> None:
    status, answer = call(server, "POST", "/invocations", content)

    assert (status, answer["field"]) == (400, field)
    assert answer["error"]


def test_a_body_past_the_limit_is_refused(server: int) -> None:
    status, answer = call(server, "POST", "/invocations", b" " * (contract.MAX_BYTES + 1))

    assert (status, answer["field"]) == (400, "body")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/endpoints//invocations", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)],
)
def test_other_doors_are_closed(server: int, method: str, path: str, status: int) -> None:
    assert call(server, method, path, b"{}")[0] == status


def test_many_callers_at_once_get_their_own_answers(server: int, model: Model) -> None:
    bodies = [body(slate_id=f"s{n}", history=[{"product_id": f"p{n % 40:02}", "kind": "view", "age": 1, "count": 1}])
              for n in range(60)]  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: call(server, "POST", "/invocations", each), bodies))

    for sent, (status, answer) in zip(bodies, answers, strict=True):
        assert status == 200
        assert answer["answers"] == model.recommend(json.loads(sent)["queries"])


def test_sigterm_ends_the_server_after_the_requests_in_hand(model_folder: Path) -> None:
    port = free_port()
    process = start(model_folder.parent, port)
    wait_until_ready(port, process)
    large = json.dumps({"version": 1, "queries": json.loads(body())["queries"] * 1000}).encode()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(call, port, "POST", "/invocations", large)
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        status, answer = asked.result(timeout=30)

    assert status == 200
    assert len(answer["answers"]) == 1000
    assert process.wait(timeout=30) == 0
    process.communicate()
    with pytest.raises(OSError, match="refused"):
        call(port, "GET", "/ping")


def test_a_tampered_model_is_never_served(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    with (tmp_path / "model" / "rows.value.npy").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\0")

    process = start(tmp_path, free_port())
    _, said = process.communicate(timeout=30)

    assert process.returncode != 0
    assert "rows.value.npy is not the file that was trained" in said
    assert "Traceback" not in said


def test_a_port_that_is_no_port_is_named(model_folder: Path) -> None:
    process = start(model_folder.parent, "http")
    _, said = process.communicate(timeout=30)

    assert process.returncode == 2
    assert said == "serve: SAGEMAKER_BIND_TO_PORT is 'http', it must be a whole number from 1 to 65535\n"
