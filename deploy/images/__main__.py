"""``python -m deploy.images``: prove that each image starts and works with nothing but what it holds. A few minutes.

Both Dockerfiles are carried out in scratch folders (``rebuilt``), each with a virtual environment of its own from the
hashed requirements. The model image then trains on a small export under SageMaker's layout, serves what it learnt and
is asked; the web image makes its tables, answers a page, and its workers and beat start as deploy/compose.yaml says.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.images.rebuilt import BuildFailed, Rebuilt
from deploy.local import redis
from deploy.local.environment import free_port
from ml.tests import samples

IMAGES = Path(__file__).parent
GOLDEN = IMAGES.parents[1] / "ml" / "tests" / "golden" / "request-v1.json"
PATIENCE = 120.0  # seconds for anything to start, on a busy machine
STOP_SECONDS = 30.0  # SageMaker's, and above Docker's own
# Where a real shop's parts are, for `check --deploy`, which reads the addresses and calls nobody.
ELSEWHERE = {
    "DATABASE_URL": "postgres://aisle:secret@database.invalid/aisle",
    "REDIS_URL": "rediss://redis.invalid:6379/0",
    "AWS_ENDPOINT_URL": "https://vpce.invalid",
}
# What a server does in the background, with numba's own count of what it found compiled and what it had to compile.
FROM_CACHE = """
import sys
from pathlib import Path
from ml import artefact, kernel
artefact.load(Path(sys.argv[1])).compile()
found = kernel.top.stats
assert found.cache_hits and not found.cache_misses, f"the image's cache of compiled code is not used: {found}"
"""


class Unproven(Exception):
    """Something does not work as the image must."""


def prove_model(scratch: Path) -> None:
    """Build, train, serve, answer, stop."""
    image = built("model", scratch)
    lacks(image, "django")
    base = scratch / "sagemaker"
    lay_out_job(base)
    settings = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(free_port())}
    succeeds("train", image, image.command("train"), settings)
    with running("serve", image, image.command("serve"), settings, scratch):
        healthy("serve", image, settings)
        address = f"http://127.0.0.1:{settings['SAGEMAKER_BIND_TO_PORT']}/invocations"
        answer = asked(address, GOLDEN.read_bytes())
        if not all(each["slates"] for each in answer["answers"]):
            raise Unproven(f"serve: an answer is empty: {answer}")
        said("serve", f"answers {len(answer['answers'])} queries by model {answer['model_version']}")
    succeeds("cache", image, ["python", "-c", FROM_CACHE, str(base / "model")], settings)


def lay_out_job(base: Path) -> None:
    """SageMaker's folders for one training job on a small export."""
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({"candidates": "12"}))
    (config / "inputdataconfig.json").write_text(json.dumps({"export": {"TrainingInputMode": "File"}}))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    samples.write_export(base / "input" / "data" / "export")


def prove_web(scratch: Path) -> None:
    """Build, make tables, check, answer a page; workers and beat start and are pinged."""
    image = built("web", scratch)
    lacks(image, "numpy")
    lacks(image, "ml.model")
    state = scratch / "state"
    state.mkdir()
    port = free_port()
    settings = {
        "SECRET_KEY": "a-secret-that-is-long-enough-and-differs-from-every-other-0123456789",
        "ALLOWED_HOSTS": "shop.example.com",
        "DATABASE_URL": f"sqlite:///{state}/shop.sqlite3",
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "GRANIAN_HOST": "127.0.0.1",
        "GRANIAN_PORT": str(free_port()),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody: a page needs no AWS
        "AWS_DEFAULT_REGION": "eu-west-1",
        "TMPDIR": str(state),
    }
    services, shipped = compose_services(), image.files()
    check = ["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    succeeds("check", image, image.command(*check), settings | ELSEWHERE)
    with subprocess.Popen(redis.command(port), stdout=subprocess.DEVNULL) as broker:  # noqa: S603 - the demo's own
        try:
            succeeds("tables", image, image.command(*services["tables"]["command"]), settings)
            prove_page(image, settings, scratch)
            for name in ("refresh", "nightly"):
                with running(name, image, image.command(*services[name]["command"]), settings, scratch):
                    pinged(name, image, services[name]["healthcheck"]["test"], settings)
            beat = [word.replace("/tmp", str(state)) for word in services["beat"]["command"]]  # noqa: S108
            with running("beat", image, image.command(*beat), settings, scratch) as log:
                eventually("beat", lambda: "is starting" in log.read_text())
        finally:
            broker.terminate()
    if image.files() != shipped:  # which its user may not, and compose.yaml's `read_only` forbids
        raise Unproven(f"web: wrote into its image: {image.files() ^ shipped}")
    said("web", "wrote nothing into its image")


def prove_page(image: Rebuilt, settings: dict[str, str], scratch: Path) -> None:
    """The command that the image starts by itself, its health check, and the home page with a file that it names."""
    with running("web", image, image.command(), settings, scratch):
        healthy("web", image, settings)
        address = f"http://127.0.0.1:{settings['GRANIAN_PORT']}/"
        page = fetched(address)
        style = page.partition('href="/static/')[2].partition('"')[0]
        fetched(f"{address}static/{style}")
        said("web", f"answers its home page, {len(page):,} characters, and static/{style}")


def compose_services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((IMAGES.parent / "compose.yaml").read_text())["services"]
    return services


# --- One step each ---------------------------------------------------------------------------------------


def built(name: str, scratch: Path) -> Rebuilt:
    started = time.monotonic()
    root = scratch / "opt"
    root.mkdir()
    image = Rebuilt(IMAGES / f"{name}.Dockerfile", root)
    sizes = " + ".join(f"{part} {size:.0f} MB" for part, size in image.megabytes().items())
    said(name, f"carried out in {time.monotonic() - started:.0f} s; uncompressed, without the base image: {sizes}")
    for line in image.passed_over:
        said(name, f"not carried out here, it changes the base image: RUN {line}")
    return image


def lacks(image: Rebuilt, module: str) -> None:
    """The environment is the image's own: what the image must not hold cannot be imported in it."""
    done = image.run(["python", "-c", f"import {module}"], {})
    if done.returncode == 0 or "ModuleNotFoundError" not in done.stdout:
        raise Unproven(f"the image should hold no {module}: {done.stdout}")


def succeeds(name: str, image: Rebuilt, words: Sequence[str], settings: dict[str, str]) -> None:
    started = time.monotonic()
    done = image.run(words, settings)
    if done.returncode:
        raise Unproven(f"{name}: ended with {done.returncode}\n{done.stdout[-3000:]}")
    said(name, f"done in {time.monotonic() - started:.0f} s")


@contextmanager
def running(name: str, image: Rebuilt, words: Sequence[str], settings: dict[str, str], scratch: Path) -> Iterator[Path]:
    """Its log, while it runs. It must still run at the end, and end within the time that engines give after SIGTERM."""
    log = scratch / f"{name}.log"
    process = image.start(words, settings, log)
    try:
        yield log
        if process.poll() is not None:
            raise Unproven(f"{name}: ended by itself with {process.returncode}")
        process.terminate()
        process.wait(STOP_SECONDS)
        said(name, f"ends on SIGTERM with exit status {process.returncode}")
    except BaseException:
        print(log.read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()


def healthy(name: str, image: Rebuilt, settings: dict[str, str]) -> None:
    eventually(name, lambda: image.run(image.health_check(), settings).returncode == 0)
    said(name, "its HEALTHCHECK passes")


def pinged(name: str, image: Rebuilt, check: str, settings: dict[str, str]) -> None:
    words = ["/bin/sh", "-c", check.replace("$$", "$")]
    eventually(name, lambda: image.run(words, settings).returncode == 0)
    said(name, "its health check in compose.yaml passes")


def eventually(name: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise Unproven(f"{name}: not ready after {PATIENCE:.0f} s")
        time.sleep(0.2)


def asked(address: str, body: bytes) -> Any:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return json.load(answer)


def fetched(address: str) -> str:
    """As the proxy before the shop asks. Raises urllib.error.HTTPError unless it is answered well."""
    headers = {"Host": "shop.example.com", "X-Forwarded-Proto": "https"}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return str(answer.read().decode())


def said(name: str, what: str) -> None:
    print(f"{name:<8} {what}", flush=True)


def main(names: Sequence[str]) -> int:
    proofs = {"model": prove_model, "web": prove_web}
    try:
        for name in names or proofs:
            with tempfile.TemporaryDirectory() as scratch:
                proofs[name](Path(scratch))
    except (BuildFailed, Unproven) as error:
        print(f"not proven: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
