"""The environment of the demo's processes: the addresses of this machine's stand-ins, and nothing that code must know.

These variables are the whole difference between the demo and production. ``python -m deploy.local env`` prints those
of the running demo, for a shell beside it.
"""

import json
import os
import secrets
import shlex
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
# All that a demo keeps. A second one on this machine needs another, and another PORT.
STATE = Path(os.environ.get("AISLE_STATE") or ROOT / ".local")
ENV_FILE = STATE / "env"
ACCOUNT = "123456789012"  # moto's
REGION: Final = "eu-west-1"
BUCKET = "aisle"
WEB_PORT = 8000


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server may listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is not a listener
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def ports() -> dict[str, int]:
    """One for each stand-in: those of the last run where they are still free, so that open shells stay right."""
    file = STATE / "ports.json"
    try:
        kept: dict[str, int] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        kept = {}
    chosen = {}
    for name in ("redis", "cloud", "runtime"):
        port = kept.get(name, 0)
        chosen[name] = port if port and is_free(port) else free_port()
    file.write_text(json.dumps(chosen))
    return chosen


def build(given: Mapping[str, str], ports: Mapping[str, int], web_port: int) -> dict[str, str]:
    """The demo's own variables. Of ``given`` it takes REDIS_URL and DATABASE_URL; AWS's are always the stand-in's."""
    return {
        "DEMO": "1",
        "SECRET_KEY": secret_key(),
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "CSRF_TRUSTED_ORIGINS": f"http://localhost:{web_port},http://127.0.0.1:{web_port}",
        "DATABASE_URL": given.get("DATABASE_URL") or f"sqlite:///{STATE}/shop.sqlite3",
        "REDIS_URL": given.get("REDIS_URL") or f"redis://127.0.0.1:{ports['redis']}/0",
        "RECOMMENDER_ENDPOINT": "aisle",
        "EXPORT_URL": f"s3://{BUCKET}/export",
        "AISLE_BUCKET": BUCKET,
        "AISLE_IMAGE": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/aisle-model:local",
        "AISLE_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/aisle-sagemaker",
        # One container of the model, and minutes where AWS would take a quarter of an hour.
        "AISLE_INSTANCES": "1",
        "AISLE_MOST_INSTANCES": "1",
        "AISLE_BAKE_SECONDS": "60",
        "AISLE_KEEP_SECONDS": "15",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['cloud']}",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{ports['runtime']}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A profile or a session of a real account must not reach the demo's processes.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "storefront.settings",
        "AISLE_URL": f"http://127.0.0.1:{web_port}",
    }


def child(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A child's whole environment: this program's, without its AWS settings, and the demo's own."""
    kept = {name: value for name, value in given.items() if not name.startswith("AWS_")}
    kept["PYTHONUNBUFFERED"] = "1"  # logs are read while they are written
    return kept | dict(own)


def secret_key() -> str:
    """One for this machine, kept, so that sessions outlive a restart."""
    file = STATE / "secret_key"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as writer:
            writer.write(secrets.token_urlsafe(50))
    return file.read_text()


def write(own: Mapping[str, str]) -> None:
    """Leave the variables where ``python -m deploy.local env`` finds them."""
    ENV_FILE.touch(mode=0o600)
    ENV_FILE.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in own.items()))


def read() -> dict[str, str]:
    """The variables of the demo that runs, or ran last. Raises FileNotFoundError."""
    words = (shlex.split(line)[1] for line in ENV_FILE.read_text().splitlines())
    return {name: value for name, _, value in (word.partition("=") for word in words)}
