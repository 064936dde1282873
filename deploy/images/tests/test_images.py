"""The Dockerfiles and compose.yaml as text; ``python -m deploy.images``, in .ci/run, shows that the images work."""

import re
import shutil
import subprocess
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from deploy.images import healthy
from deploy.images.dockerfile import UnreadableDockerfile, read
from deploy.images.rebuilt import Rebuilt

IMAGES = Path(__file__).resolve().parents[1]
PROJECT = IMAGES.parents[1]
NAMES = ("model", "web")
COMPOSE = yaml.safe_load((IMAGES.parent / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_finds_nothing(name: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, IMAGES / f"{name}.Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_the_base_is_pinned_to_an_exact_version(name: str) -> None:
    for stage in read(IMAGES / f"{name}.Dockerfile"):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", stage.base)


@pytest.mark.parametrize("name", NAMES)
def test_packages_are_wheels_with_hashes(name: str) -> None:
    installs = read(IMAGES / f"{name}.Dockerfile")[0].last("RUN").text
    assert f"--only-binary :all: --require-hashes -r requirements/{name}.txt" in installs


def test_the_model_image_carries_the_cloud_half_and_nothing_else() -> None:
    assert copied("model") == {"ml/", "deploy/images/healthy.py"}


def test_of_the_cloud_half_the_web_image_carries_the_wire_alone() -> None:
    shop = {"manage.py", "recommender/", "storefront/", "deploy/images/healthy.py"}
    assert copied("web") == shop | {"ml/__init__.py", "ml/contract.py"}


def copied(name: str) -> set[str]:
    copies = [each for each in read(IMAGES / f"{name}.Dockerfile")[-1].instructions if each.name == "COPY"]
    sources = {source for each in copies if "from" not in each.flags for source in each.words()[:-1]}
    assert all((PROJECT / source).exists() for source in sources)
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all(source.startswith(tuple(allowed)) for source in sources)
    return sources


def test_only_the_web_image_leaves_root_because_sagemaker_expects_root() -> None:
    users = {name: [i.text for i in read(IMAGES / f"{name}.Dockerfile")[-1].instructions if i.name == "USER"]
             for name in NAMES}  # fmt: skip
    assert users == {"model": [], "web": ["10001"]}


def test_a_line_that_the_proof_would_pass_over_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11.14-slim-bookworm\nADD ml/ ml/\n")
    with pytest.raises(UnreadableDockerfile, match="ADD ml/ ml/"):
        read(tmp_path / "Dockerfile")


def test_an_image_is_rebuilt_from_its_copies_environment_and_commands_alone(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM python:3.11.14-slim-bookworm\nENV PATH=/opt/venv/bin:$PATH GREETING="good day"\nWORKDIR /opt/aisle\n'
        "# a comment\nCOPY ml/__init__.py ml/contract.py ml/\nRUN useradd aisle\n"
        'CMD ["python3", \\\n  "-c", "import os, ml.contract; print(os.environ[\'GREETING\'], os.listdir())"]\n'
    )
    image = Rebuilt(tmp_path / "Dockerfile", tmp_path / "opt")
    (tmp_path / "opt" / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "opt" / "venv" / "bin" / "python3").symlink_to(
        shutil.which("python3", path=sys.exec_prefix + "/bin") or ""
    )
    done = image.run(image.command(), {})
    assert done.stdout.splitlines() == ["good day ['ml']"]
    assert {name for name, _ in image.files()} == {"ml/__init__.py", "ml/contract.py"}
    assert image.passed_over == ["useradd aisle"]
    assert "DJANGO_SETTINGS_MODULE" not in image.environment({})


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE])
def test_the_health_check_passes_only_where_the_shop_is_well(
    status: HTTPStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.extend((self.headers["Host"], self.headers["X-Forwarded-Proto"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests are quiet."""

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("GRANIAN_PORT", str(server.server_port))
        monkeypatch.setenv("ALLOWED_HOSTS", ".shop.example.com,localhost")
        assert (healthy.main("http://127.0.0.1:$GRANIAN_PORT/healthz") == 0) is (status == HTTPStatus.OK)
    assert asked == ["shop.example.com", "https"]


def test_the_health_check_fails_where_nobody_listens() -> None:
    assert healthy.main("http://127.0.0.1:9/ping") == 1


@pytest.mark.parametrize("service", [name for name, each in COMPOSE.items() if "build" in each])
def test_compose_builds_images_that_there_are(service: str) -> None:
    build = COMPOSE[service]["build"]
    assert (IMAGES.parent / build["context"]).resolve() == PROJECT
    assert (PROJECT / build["dockerfile"]).is_file()


def test_compose_waits_for_services_that_it_has() -> None:
    for each in COMPOSE.values():
        for other, when in each.get("depends_on", {}).items():
            assert when["condition"] != "service_healthy" or "test" in COMPOSE[other].get("healthcheck", {}) or (
                COMPOSE[other]["image"] == "aisle-model"  # whose health check the image brings
            )  # fmt: skip


def test_every_queue_has_a_worker_and_there_is_one_clock() -> None:
    from storefront.celery import app

    queues = {app.conf.task_default_queue, *(route["queue"] for route in app.conf.task_routes.values())}
    commands = [" ".join(each.get("command", [])) for each in COMPOSE.values()]
    assert {match[1] for command in commands if (match := re.search(r"worker -Q (\w+)", command))} == queues
    assert sum("storefront beat" in command for command in commands) == 1
