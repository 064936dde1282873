"""The launcher's failures, with real processes. Its success is `make demo` itself: too long for a test."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from rich.console import Console

from deploy.local import demo, environment, launcher, marks
from deploy.local.__main__ import main
from deploy.local.deadline import Failure, within
from deploy.local.lock import Held, Lock
from deploy.local.marks import is_done, mark_done
from deploy.local.process import Process
from deploy.local.stages import Stages
from deploy.local.supervisor import Ended, Stopping, Supervisor
from deploy.local.tests.test_process import alive, eventually

# The real launcher with its state elsewhere and one service for its stages.
LAUNCHER = """
import sys
from deploy.local import demo, launcher

def launch(demo, pool):
    service = demo.python("web", "-c", "print('warming up', flush=True); import time; time.sleep(60)")
    demo.supervisor.serve(service)
    demo.supervisor.wait_until(lambda: "warming up" in service.tail())
    print("pid", service.pid, flush=True)
    demo.supervisor.wait_until(lambda: sys.argv[1] == "ready")
    return []

demo.launch = launch
sys.exit(launcher.run())
"""


class Launched:
    """A launcher under way, its service's pid, and what it says until it ends."""

    def __init__(self, state: Path, how: str = "ready", **env: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, how],
            env={**os.environ, "AISLE_STATE": str(state), "PORT": str(environment.free_port()), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._child.stdout is not None
        self._output: IO[str] = self._child.stdout
        self.said = ""
        self.pid = self._child.pid

    def until(self, text: str) -> str:
        """Read up to a line with this text, and return that line."""
        for line in self._output:
            self.said += line
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}: {self.said}")

    def service(self) -> int:
        return int(self.until("pid ").split()[1])

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self._child.send_signal(number)
        self.said += self._output.read()
        self._output.close()
        return self._child.wait(20)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_in_use_is_named_with_the_way_around_it(state: Path, busy_port: int) -> None:
    launched = Launched(state, PORT=str(busy_port))
    assert launched.end() == 1
    assert f"port {busy_port} is in use" in launched.said
    assert f"PORT={busy_port + 1} make demo" in launched.said


@pytest.mark.parametrize("port", ["eight", "0", "65536", "-1", ""])
def test_what_is_no_port_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", port)
    with pytest.raises(Failure, match="which is no port"):
        launcher.check_machine()


def test_a_full_disk_is_seen_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(environment.free_port()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=900_000_000))
    with pytest.raises(Failure, match=r"the disk is full: 0\.9 GB are free, the demo needs 1\.5 GB"):
        launcher.check_machine()


def test_ctrl_c_after_it_is_ready_stops_everything_quietly(state: Path) -> None:
    launched = Launched(state)
    service = launched.service()
    launched.until("Aisle is running")
    assert launched.end(signal.SIGINT) == 0
    assert launched.said.rstrip().endswith("Stopped.")
    assert "Traceback" not in launched.said
    assert not alive(service)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_half_way_stops_everything_and_says_that_the_next_run_goes_on(
    state: Path, number: signal.Signals
) -> None:
    launched = Launched(state, "never ready")
    service = launched.service()
    assert launched.end(number) == 130
    assert "the next run goes on from here" in launched.said
    assert not alive(service)


def test_a_child_that_dies_is_named_with_the_end_of_its_log(state: Path) -> None:
    launched = Launched(state)
    service = launched.service()
    launched.until("Ready after")
    os.kill(service, signal.SIGKILL)
    assert launched.end() == 1
    assert "web was ended by signal 9" in launched.said
    assert "warming up" in launched.said
    assert "Everything else is stopped" in launched.said


def test_nothing_is_left_when_the_launcher_is_killed_and_its_lock_is_free(state: Path) -> None:
    killed = Launched(state)
    service = killed.service()
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert eventually(lambda: not alive(service))
    second = Launched(state)
    second.until("Aisle is running")
    assert second.end(signal.SIGINT) == 0


def test_a_second_demo_is_refused_naming_the_first(state: Path) -> None:
    first = Launched(state)
    first.until("Aisle is running")
    second = Launched(state)
    assert second.end() == 1
    assert f"runs already, as process {first.pid}" in second.said
    assert first.end(signal.SIGTERM) == 0


def test_clean_refuses_while_a_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.__main__.STATE", tmp_path / "state")
    with Lock(tmp_path / "state" / "demo.lock") as lock:
        lock.sign(4711)
        assert main(["clean"]) == 1
        assert (tmp_path / "state").exists()
    assert main(["clean"]) == 0
    assert not (tmp_path / "state").exists()


def test_a_lock_tells_who_holds_it(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock") as lock:
        lock.sign(4711)
        with pytest.raises(Held, match="4711"), Lock(tmp_path / "lock"):
            pass


def sleeper(name: str, tmp_path: Path, script: str = "import time; time.sleep(60)") -> Process:
    return Process(name, [sys.executable, "-c", script], env=os.environ, log=tmp_path / f"{name}.log")


def test_a_failed_command_says_how_it_ended(tmp_path: Path) -> None:
    with Supervisor() as supervisor, pytest.raises(Ended, match="load ended with exit code 3"):
        supervisor.run(sleeper("load", tmp_path, "raise SystemExit(3)"))


def test_waiting_ends_when_a_service_dies_and_the_service_is_the_cause(tmp_path: Path) -> None:
    service = sleeper("cloud", tmp_path, "import time; time.sleep(0.2); raise SystemExit(5)")

    def launch() -> None:
        with Supervisor() as supervisor:
            supervisor.serve(service)
            supervisor.run(sleeper("load", tmp_path))

    with pytest.raises(Ended, match="cloud ended with exit code 5"):
        launch()


def test_stopping_ends_what_uses_the_base_before_the_base(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    script = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(ends)!r}, 'a').write(NAME + '\\n'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    redis = sleeper("redis", tmp_path, f"NAME = 'redis'\n{script}")
    web = sleeper("web", tmp_path, f"NAME = 'web'\n{script}")
    with Supervisor() as supervisor:
        supervisor.serve(redis, base=True)
        supervisor.serve(web)
        supervisor.wait_until(lambda: "up" in redis.tail() and "up" in web.tail())
    assert ends.read_text().split() == ["web", "redis"]


def test_nothing_starts_once_everything_is_being_stopped(tmp_path: Path) -> None:
    supervisor = Supervisor()
    supervisor.stop()
    with pytest.raises(Stopping):
        supervisor.serve(sleeper("late", tmp_path))


def test_a_full_disk_is_recognised_in_the_log_of_what_died(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = sleeper("catalogue", tmp_path, "raise OSError(28, 'No space left on device')")
    process.start()
    process.wait(10)
    console = Console(soft_wrap=True)
    launcher._explain(console, str(Ended(process, 1)), "read it", process)
    said = capsys.readouterr().out
    assert "catalogue ended with exit code 1: the disk is full" in said
    assert "What to do: free some space" in said


def test_stages_are_lines_with_times_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(Console()) as stages:
        with stages.stage("Redis") as stage:
            stage.tell("on port 1")
        with contextlib.suppress(Ended), stages.stage("Catalogue"):
            raise Ended(sleeper("catalogue", Path()), 1)
        with stages.stage("Static files") as stage:
            stage.keep()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["✓", "Redis"], ["✗", "Catalogue"], ["=", "Static"]]


def test_a_stage_is_done_for_its_database_alone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "DONE", state / "done")
    here = f"sqlite:///{state}/shop.sqlite3"
    (state / "shop.sqlite3").touch()
    assert not is_done("catalogue", here)
    mark_done("catalogue", here)
    assert is_done("catalogue", here)
    assert not is_done("catalogue", "postgres://localhost/shop")
    (state / "shop.sqlite3").unlink()
    assert not is_done("catalogue", here)


def test_a_stage_is_done_for_what_it_was_made_from_alone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "DONE", state / "done")
    here = "postgres://localhost/shop"
    mark_done("tables", here, "one digest")
    assert is_done("tables", here, "one digest")
    assert not is_done("tables", here, "another")


def test_a_deadline_that_passed_is_a_failure_with_its_reason() -> None:
    def wait() -> None:
        with within(0.0, "nobody came", "wait") as late:
            time.sleep(0.01)
            assert late()

    with pytest.raises(Failure, match=r"nobody came \(waited 0 s\)"):
        wait()


def test_a_deadline_that_was_kept_is_none() -> None:
    with within(60.0, "nobody came", "wait") as late:
        assert not late()


def test_a_password_in_the_database_url_is_not_shown() -> None:
    assert "hush" not in demo._readable("postgres://aisle:hush@db.example/shop")


def test_the_children_see_no_account_of_ours(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "STATE", state)
    ours = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "secret", "PATH": "/bin", "REDIS_URL": "redis://mine/3"}
    own = environment.build(ours, {"redis": 1, "cloud": 2, "runtime": 3}, 8000)
    env = environment.child(own, ours)
    assert "AWS_PROFILE" not in env
    assert "AWS_SESSION_TOKEN" not in env
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:2"
    assert env["REDIS_URL"] == "redis://mine/3"


def test_the_environment_is_found_again_by_a_shell_and_by_us(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "STATE", state)
    monkeypatch.setattr(environment, "ENV_FILE", state / "env")
    own = environment.build(
        {"DATABASE_URL": "postgres://a:b'c d@db/shop"}, {"redis": 1, "cloud": 2, "runtime": 3}, 8000
    )
    environment.write(own)
    assert environment.read() == own
    shell = subprocess.run(
        ["/bin/sh", "-c", f'. {state}/env; printf %s "$DATABASE_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == own["DATABASE_URL"]
    assert (state / "env").stat().st_mode & 0o077 == 0
    assert (state / "secret_key").stat().st_mode & 0o077 == 0


def test_the_secret_key_and_the_ports_outlive_a_restart(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "STATE", state)
    assert environment.secret_key() == environment.secret_key()
    assert environment.ports() == environment.ports()


def test_a_port_that_was_taken_meanwhile_is_replaced(
    state: Path, monkeypatch: pytest.MonkeyPatch, busy_port: int
) -> None:
    monkeypatch.setattr(environment, "STATE", state)
    (state / "ports.json").write_text(f'{{"redis": {busy_port}}}')
    assert environment.ports()["redis"] != busy_port
