"""A setting that is missing or misspelt stops every command with one line, which names it and the cure."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

ENOUGH = {"SECRET_KEY": "secret", "ALLOWED_HOSTS": "shop.example.com"}


def check(**given: str) -> "subprocess.CompletedProcess[str]":
    """``manage.py check`` with these settings and no others."""
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "manage.py", "check"]
    return subprocess.run(
        command, env=bare | given, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_host_and_a_secret_are_enough() -> None:
    assert check(**ENOUGH).returncode == 0


@pytest.mark.parametrize(
    ("given", "named", "cure"),
    [
        ({"ALLOWED_HOSTS": "shop.example.com"}, "SECRET_KEY", "token_urlsafe"),
        ({"SECRET_KEY": "secret"}, "ALLOWED_HOSTS", "shop.example.com"),
        (ENOUGH | {"DEMO": "perhaps"}, "DEMO", "1 or 0"),
    ],
)
def test_what_is_missing_or_misspelt_is_named_with_its_cure(given: dict[str, str], named: str, cure: str) -> None:
    refused = check(**given)
    assert refused.returncode == 1
    assert named in refused.stderr
    assert cure in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
