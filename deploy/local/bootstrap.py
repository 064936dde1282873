"""Make ``.venv`` what a set of requirements says, then run a command in it.

    python3 deploy/local/bootstrap.py demo -m deploy.local demo

The one file here that runs before anything is installed: standard library only, and old enough in its syntax for
Python 3.6 to read it as far as the line that says which Python is needed. It installs into ``.venv``, nowhere else.
"""
# ruff: noqa: S603, S606 - every command is built here

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "aisle.json")
LOG = os.path.join(ROOT, ".local", "logs", "install.log")

# What a set contains besides its own file: `make test` leaves a .venv that `make demo` need not touch.
CONTAINS = {"demo": ["demo"], "dev": ["dev", "demo"]}
TESTED = [(3, 12), (3, 11)]  # have wheels of everything, the embedded Redis included
OLDEST = (3, 11)
SECONDS = "AISLE_INSTALL_SECONDS"  # tells the command how long this took
DOWNLOAD_SECONDS = "AISLE_DOWNLOAD_SECONDS"

ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class Failure(Exception):
    """A stage that did not work: what, why, and what to do."""

    def __init__(self, stage: str, why: str, cure: str) -> None:
        super().__init__(f"{stage} failed: {why}\n  What to do: {cure}")


def version_of(python: str) -> "tuple[int, int] | None":
    """Its version; None if it does not run, as a pyenv shim of a version that is not selected does not."""
    try:
        out = subprocess.check_output([python, "-c", ASK_VERSION], stderr=subprocess.DEVNULL, timeout=30)
        major, minor = out.decode().split(".")
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose_python(path: "str | None" = None) -> "tuple[str, tuple[int, int]]":
    """This Python if it is a tested one, else a tested one on PATH, else a newer one. Raises Failure."""
    here = (sys.version_info[0], sys.version_info[1])
    if here in TESTED:
        return sys.executable, here
    for version in TESTED:
        python = shutil.which(f"python{version[0]}.{version[1]}", path=path)
        if python and version_of(python) == version:
            return python, version
    if here > TESTED[0]:
        return sys.executable, here
    raise Failure(
        "Finding Python",
        f"Aisle needs Python 3.11 or 3.12; {sys.executable} is {here[0]}.{here[1]} and PATH has no other",
        "install one (Debian 12: apt-get install python3 python3-venv; anywhere: uv python install 3.12), "
        "then put it on PATH",
    )


def digest(name: str) -> str:
    """Of the requirements of a set and of the sets that it contains."""
    sha = hashlib.sha256()
    for part in CONTAINS[name]:
        with open(os.path.join(ROOT, "requirements", part + ".txt"), "rb") as file:
            sha.update(file.read())
    return sha.hexdigest()


def installed(name: str) -> bool:
    """Whether ``.venv`` holds exactly these requirements, or those of a set that contains them."""
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
        holds = stamp["set"]
        return name in CONTAINS[holds] and stamp["digest"] == digest(holds) and os.path.exists(VENV_PYTHON)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def install(name: str) -> "dict[str, float]":
    """Bring ``.venv`` to the set. Returns seconds: all, and those of downloading. Raises Failure."""
    started = time.time()
    download = 0.0
    if os.path.exists(STAMP):
        os.remove(STAMP)  # an interrupted installation is one that never was
    pip = make_venv()
    uv = find_uv(pip)
    requirements = os.path.join(ROOT, "requirements", name + ".txt")
    stage = f"Installing the {name} packages"
    if uv:
        command = [uv, "pip", "install", "--python", VENV_PYTHON, "--require-hashes", "--link-mode", "copy"]
        download = downloaded(run(stage, [*command, "-r", requirements], env=as_uv_reads_it(pip)))
    else:
        run(stage, [*pip, "install", "--require-hashes", "--no-deps", "-r", requirements])
    with open(STAMP, "w") as file:
        json.dump({"set": name, "digest": digest(name)}, file)
    return {SECONDS: time.time() - started, DOWNLOAD_SECONDS: download}


def make_venv() -> "list[str]":
    """Create ``.venv`` unless a fit one is there. Returns the pip command that installs into it, [] for none."""
    version = version_of(VENV_PYTHON)
    if version is None:
        python, version = choose_python()
        create_venv(python, version)
    elif version < OLDEST:
        raise Failure(
            "Checking .venv", f".venv holds Python {version[0]}.{version[1]}", "rm -r .venv, then run this again"
        )
    inside = [VENV_PYTHON, "-m", "pip"]
    outside = [sys.executable, "-m", "pip", "--python", VENV_PYTHON]
    return next((pip for pip in (inside, outside) if works([*pip, "--version"])), [])


def create_venv(python: str, version: "tuple[int, int]") -> None:
    """By whichever of Python's own venv, virtualenv and uv there is: Debian ships Python without a working venv."""
    stage = f"Making .venv with Python {version[0]}.{version[1]}"
    if os.path.isdir(VENV):
        shutil.rmtree(VENV)  # its Python does not run, so nothing in it does
    ways = []
    if imports(python, "ensurepip"):
        ways.append([python, "-m", "venv", VENV])
    if imports(python, "virtualenv"):
        ways.append([python, "-m", "virtualenv", "-q", VENV])
    for program, options in (("virtualenv", ["-q", "-p", python]), ("uv", ["venv", "-q", "--python", python])):
        found = shutil.which(program)
        if found:
            ways.append([found, *options, VENV])
    if not ways and imports(python, "pip") and imports(python, "venv"):
        ways.append([python, "-m", "venv", "--without-pip", VENV])
    if not ways:
        raise Failure(
            stage,
            f"{python} has no venv",
            f"install it (Debian, Ubuntu: apt-get install python{version[0]}.{version[1]}-venv), then run this again",
        )
    run(stage, ways[0])


def works(command: "list[str]") -> bool:
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def imports(python: str, module: str) -> bool:
    return works([python, "-c", "import " + module])


def find_uv(pip: "list[str]") -> "str | None":
    """uv from ``.venv``, put there by pip, else the one on PATH; None leaves the work to pip, ten times slower."""
    inside = os.path.join(VENV, "bin", "uv")
    if not os.path.exists(inside) and pip:
        try:
            run("Installing uv", [*pip, "install", "--disable-pip-version-check", "uv"])
        except Failure as failure:
            if shutil.which("uv") is None and "no network" in str(failure):
                raise
    return inside if os.path.exists(inside) else shutil.which("uv")


def as_uv_reads_it(pip: "list[str]") -> "dict[str, str]":
    """This environment with pip's configured indexes under the names that uv reads: a company's mirror counts."""
    env = dict(os.environ)
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
    names["cert"] = "SSL_CERT_FILE"
    out = b""
    if pip:
        out = subprocess.run([*pip, "config", "list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for line in out.decode(errors="replace").splitlines():
        key, _, value = line.partition("=")
        name = names.get(key.rsplit(".", 1)[-1])
        if name:
            separator = "," if name == "UV_FIND_LINKS" else " "
            env.setdefault(name, separator.join(value.strip("'\"").split()))
    # Every file is pinned by its hash, so it does not matter which index gives it.
    env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return env


def run(stage: str, command: "list[str]", env: "dict[str, str] | None" = None) -> str:
    """Run one stage, its output to the log, a counter for people. Returns the output. Raises Failure."""
    started = time.time()
    return_ = "\r" if sys.stdout.isatty() else ""
    os.makedirs(os.path.dirname(LOG), exist_ok=True)
    with open(LOG, "w+b") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env)
        try:
            while child.poll() is None:
                if return_:
                    say(f"{return_}  {stage} … {time.time() - started:.0f} s ", end="")
                time.sleep(0.1)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        log.seek(0)
        output = log.read().decode(errors="replace")
    say(f"{return_}  {stage} … {time.time() - started:.1f} s")
    if child.returncode:
        why, cure = diagnose(output)
        raise Failure(stage, why, cure)
    return output


OFFLINE = (
    "dns error", "name resolution", "failed to lookup", "network is unreachable", "connection refused", "timed out",
    "connecterror", "proxyerror", "failed to establish a new connection", "cannot connect to proxy",
    "error sending request", "from versions: none",
)  # fmt: skip


def diagnose(output: str) -> "tuple[str, str]":
    """Why an installer failed, in one line, and what to do about it."""
    lowered = output.lower()
    if "no space left" in lowered:
        return "the disk is full", "free 2 GB, then run this again"
    if any(sign in lowered for sign in OFFLINE):
        return "no network: the package index cannot be reached", "check the connection or the proxy, then run it again"
    if "hash mismatch" in lowered or "do not match the hashes" in lowered:
        return "a downloaded package is not the one recorded in requirements/", "do not use that index"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing"), f"read {LOG}"


def downloaded(output: str) -> float:
    """Seconds that uv spent fetching: it says ``Prepared 140 packages in 1m 02s``."""
    match = re.search(r"Prepared \d+ packages? in (?:(\d+)m )?([\d.]+)(ms|s)", output)
    if match is None:
        return 0.0
    minutes, amount, unit = match.groups()
    return 60 * int(minutes or 0) + float(amount) / (1000 if unit == "ms" else 1)


def say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def main(arguments: "list[str]") -> int:
    if not arguments or arguments[0] not in CONTAINS:
        say(f"usage: bootstrap.py {'|'.join(CONTAINS)} [arguments of python…]")
        return 2
    env = dict(os.environ)
    try:
        if not installed(arguments[0]):
            say("Installing (once; everything goes to .venv)")
            seconds = install(arguments[0])
            env.update({name: f"{value:.1f}" for name, value in seconds.items()})
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. Run it again to go on.")
        return 130
    if arguments[1:]:
        os.chdir(ROOT)
        os.execve(VENV_PYTHON, [VENV_PYTHON, *arguments[1:]], env)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
