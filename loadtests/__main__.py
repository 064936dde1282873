"""Thirty seconds of shoppers against the running demo: `make loadtest`, or `python -m loadtests --help`.

Exits 1 when any page failed, any panel was missing where it was promised, or nothing was measured.
"""

import argparse
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__.splitlines()[0])
    demo = os.environ.get("AISLE_URL", "http://127.0.0.1:8000")
    parser.add_argument("--host", default=demo, help="where the shop is (default: %(default)s)")
    parser.add_argument("--users", type=int, default=20, help="shoppers at the same time (default: 20)")
    parser.add_argument("--seconds", type=int, default=30, help="how long (default: 30)")
    parser.add_argument(
        "--beyond-loopback", action="store_true", help="allow a host that is not this machine: yours, with leave"
    )
    arguments = parser.parse_args()

    if urlsplit(arguments.host).hostname not in LOOPBACK and not arguments.beyond_loopback:
        parser.error(f"{arguments.host} is not this machine; --beyond-loopback says that you may load it")
    try:
        urllib.request.urlopen(f"{arguments.host}/healthz", timeout=5).close()
    except (OSError, ValueError) as error:
        print(f"loadtests: no shop answers at {arguments.host} ({error}): start one with `make demo`", file=sys.stderr)
        return 1
    return subprocess.call(
        [
            sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("locustfile.py")),
            "--headless", "--only-summary", "--host", arguments.host,
            "--users", str(arguments.users), "--spawn-rate", "5",
            "--run-time", f"{arguments.seconds}s", "--stop-timeout", "5",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
