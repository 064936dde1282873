import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import bootstrap

SOURCE = Path(bootstrap.__file__)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with two sets of requirements, and bootstrap looking at it."""
    (tmp_path / "requirements").mkdir()
    for name in ("demo", "dev"):
        (tmp_path / "requirements" / f"{name}.txt").write_text(f"# {name}\n")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr(bootstrap, "VENV", str(venv))
    monkeypatch.setattr(bootstrap, "VENV_PYTHON", str(venv / "bin" / "python"))
    monkeypatch.setattr(bootstrap, "STAMP", str(venv / "aisle.json"))
    monkeypatch.setattr(bootstrap, "LOG", str(tmp_path / ".local" / "logs" / "install.log"))
    return tmp_path


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def stamp(checkout: Path, name: str) -> None:
    program(checkout / ".venv" / "bin" / "python", "exit 0")
    (checkout / ".venv" / "aisle.json").write_text(json.dumps({"set": name, "digest": bootstrap.digest(name)}))


def test_python_3_6_can_read_the_file() -> None:
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_an_old_python_takes_a_tested_one_from_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = program(tmp_path / "python3.12", "echo 3.12")
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert bootstrap.choose_python(str(tmp_path)) == (str(newer), (3, 12))


def test_a_shim_that_does_not_run_is_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "python3.12", "exit 127")
    works = program(tmp_path / "python3.11", "echo 3.11")
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert bootstrap.choose_python(str(tmp_path)) == (str(works), (3, 11))


def test_a_newer_python_is_used_when_there_is_no_tested_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert bootstrap.choose_python(str(tmp_path)) == (sys.executable, (3, 14))


def test_without_any_fit_python_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(bootstrap.Failure, match=r"needs Python 3\.11 or 3\.12; .* is 3\.9(.|\n)*install one"):
        bootstrap.choose_python(str(tmp_path))


def test_a_python_without_venv_names_the_package(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = program(checkout / "bin" / "python3.11", "exit 1")  # can import nothing
    monkeypatch.setenv("PATH", str(bare.parent))
    with pytest.raises(bootstrap.Failure, match=r"has no venv(.|\n)*apt-get install python3\.11-venv"):
        bootstrap.create_venv(str(bare), (3, 11))


@pytest.fixture
def debians(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python as Debian ships it without python3-venv, and no other way to a venv."""
    half = program(
        checkout / "bin" / "python3.11",
        f'case "$2" in "import ensurepip"|"import virtualenv") exit 1;; esac; exec {sys.executable} "$@"',
    )
    monkeypatch.setenv("PATH", f"{half.parent}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda program: None)
    return half


def test_debians_python_without_ensurepip_gets_a_venv_from_pip_outside(debians: Path) -> None:
    bootstrap.create_venv(str(debians), (3, 11))
    assert bootstrap.version_of(bootstrap.VENV_PYTHON) == sys.version_info[:2]
    assert not bootstrap.imports(bootstrap.VENV_PYTHON, "pip")


def test_a_venv_whose_python_is_gone_is_made_anew(
    checkout: Path, debians: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian's, because a venv without a pip of its own is made in a fraction of a second.
    monkeypatch.setattr(bootstrap, "choose_python", lambda: (str(debians), (3, 11)))
    bin_ = checkout / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python").symlink_to("/no/such/python")
    (bin_ / "left-over").touch()
    bootstrap.make_venv()
    assert bootstrap.version_of(bootstrap.VENV_PYTHON) == sys.version_info[:2]
    assert not (bin_ / "left-over").exists()


def test_a_venv_of_an_old_python_is_left_alone_and_named(checkout: Path) -> None:
    program(checkout / ".venv" / "bin" / "python", "echo 3.9")
    with pytest.raises(bootstrap.Failure, match=r"\.venv holds Python 3\.9(.|\n)*rm -r \.venv"):
        bootstrap.make_venv()


def test_a_stamp_says_that_nothing_needs_doing(checkout: Path) -> None:
    stamp(checkout, "demo")
    assert bootstrap.installed("demo")
    assert not bootstrap.installed("dev")


def test_dev_contains_demo_so_the_two_do_not_take_turns(checkout: Path) -> None:
    stamp(checkout, "dev")
    assert bootstrap.installed("dev")
    assert bootstrap.installed("demo")


@pytest.mark.parametrize("changed", ["demo", "dev"])
def test_changed_requirements_are_noticed(checkout: Path, changed: str) -> None:
    stamp(checkout, "dev")
    (checkout / "requirements" / f"{changed}.txt").write_text("django==6.0\n")
    assert not bootstrap.installed("dev")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"set": "none"}', '{"set": "dev"}'])
def test_a_torn_stamp_is_none(checkout: Path, content: str) -> None:
    stamp(checkout, "dev")
    (checkout / ".venv" / "aisle.json").write_text(content)
    assert not bootstrap.installed("demo")


def test_a_failed_installation_leaves_no_stamp(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp(checkout, "demo")
    program(checkout / ".venv" / "bin" / "python", 'case "$*" in *install*) exit 1;; *-c*) echo 3.11;; esac')
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(bootstrap.Failure, match="Installing the dev packages failed"):
        bootstrap.install("dev")
    assert not (checkout / ".venv" / "aisle.json").exists()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("error: dns error: failed to lookup address information", "no network"),
        ("NewConnectionError: Failed to establish a new connection: [Errno 111]", "no network"),
        ("ERROR: Could not find a version that satisfies the requirement uv (from versions: none)", "no network"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("  × Hash mismatch for `six==1.17.0`", "not the one recorded"),
        ("something\nof its own\n", "of its own"),
        ("", "it said nothing"),
    ],
)
def test_an_installers_failure_is_explained_in_one_line(output: str, why: str) -> None:
    explained, cure = bootstrap.diagnose(output)
    assert why in explained
    assert "\n" not in explained
    assert cure


@pytest.mark.parametrize(
    ("said", "seconds"), [("in 831ms", 0.831), ("in 12.34s", 12.34), ("in 1m 02s", 62.0), ("nothing", 0.0)]
)
def test_the_time_of_downloading_is_read_from_uv(said: str, seconds: float) -> None:
    assert bootstrap.downloaded(f"Resolved\nPrepared 140 packages {said}\nInstalled") == pytest.approx(seconds)


def test_pips_mirror_is_uvs_too(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    pip = program(checkout / "pip", "echo \"global.index-url='https://mirror.example/simple'\"")
    assert bootstrap.as_uv_reads_it([str(pip)])["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


def test_the_command_runs_in_the_venv_and_its_exit_code_counts(checkout: Path) -> None:
    stamp(checkout, "demo")
    program(checkout / ".venv" / "bin" / "python", 'echo "$@"; exit 7')
    script = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); import bootstrap as b; b.ROOT = {str(checkout)!r}\n"
        "b.VENV = b.ROOT + '/.venv'; b.VENV_PYTHON = b.VENV + '/bin/python'; b.STAMP = b.VENV + '/aisle.json'\n"
        "sys.exit(b.main(['demo', '-m', 'deploy.local', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("-m deploy.local demo\n", 7)
