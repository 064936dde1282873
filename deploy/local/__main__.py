"""``python -m deploy.local <verb>``: the demo on this machine, and its parts one by one."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from deploy.local.environment import ENV_FILE, STATE


def demo(arguments: argparse.Namespace) -> int:
    from deploy.local import launcher

    return launcher.run(arguments.data)


def cloud(arguments: argparse.Namespace) -> int:
    from deploy.local import cloud

    cloud.run(arguments.port, arguments.runtime_port, arguments.state)
    return 0


def convert(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from deploy.local import convert

    try:
        done = convert.convert(arguments.source or convert.data_folder(), arguments.to, datetime.now(UTC))
    except convert.NoData as error:
        sys.exit(f"convert: {error}")
    print(
        f"left out: {done.rare:,} products sold less than {convert.FEWEST_LINES} times, {done.not_goods:,} that are "
        f"not goods, {done.unknown:,} that the data does not describe, {done.without_quantity:,} lines without quantity"
    )
    print(f"{done.products:,} products, {done.events:,} purchases of {done.shoppers:,} households")
    return 0


def env(arguments: argparse.Namespace) -> int:
    from deploy.local import environment

    try:
        own = environment.read()
    except FileNotFoundError:
        print("env: no demo has run here yet: make demo", file=sys.stderr)
        return 1
    if arguments.run:
        os.execvpe(arguments.run[0], arguments.run, environment.child(own, os.environ))  # noqa: S606 - asked for
    print(ENV_FILE.read_text(), end="")
    return 0


def screenshots(arguments: argparse.Namespace) -> int:
    from playwright.sync_api import Error

    from deploy.local import screenshots
    from deploy.local.browser import NoBrowser

    try:
        for path in screenshots.take():
            print(path)
    except (screenshots.NoPicture, NoBrowser, Error) as error:
        print(f"screenshots: {str(error).splitlines()[0]}; does the demo run (make demo)?", file=sys.stderr)
        return 1
    return 0


def vitals(arguments: argparse.Namespace) -> int:
    from playwright.sync_api import Error

    from deploy.local import vitals
    from deploy.local.browser import NoBrowser

    try:
        return 0 if vitals.run(arguments.json) else 1
    except (NoBrowser, Error) as error:
        print(f"vitals: {str(error).splitlines()[0]}; does the demo run (make demo)?", file=sys.stderr)
        return 1


def clean(arguments: argparse.Namespace) -> int:
    from deploy.local.lock import Held, Lock

    if not STATE.exists():
        print(f"{STATE} does not exist: nothing to forget")
        return 0
    try:
        with Lock(STATE / "demo.lock"):
            shutil.rmtree(STATE)
    except Held as held:
        print(f"clean: the demo runs, as process {held.pid}: stop it first (Ctrl-C)", file=sys.stderr)
        return 1
    print(f"removed {STATE}: the demo's database, objects, registry and logs; .venv stays")
    return 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")

    verb = verbs.add_parser("demo", help="everything, at http://localhost:8000, until Ctrl-C (PORT=… for another port)")
    verb.add_argument(
        "--data", type=Path, metavar="DIRECTORY",
        help="open with your shop's products.csv and events.csv instead; on a first run, or after `make clean`",
    )  # fmt: skip
    verb.set_defaults(run_verb=demo)

    verb = verbs.add_parser("cloud", help="the local cloud alone, a stand-in for AWS on two loopback ports")
    verb.add_argument("--port", type=int, default=5055, help="S3, SageMaker, CloudWatch… (%(default)s)")
    verb.add_argument("--runtime-port", type=int, default=5056, help="InvokeEndpoint (%(default)s)")
    verb.add_argument("--state", type=Path, default=STATE / "cloud", help="what it remembers (%(default)s)")
    verb.set_defaults(run_verb=cloud)

    verb = verbs.add_parser("convert", help="The Complete Journey's Parquet files to products.csv and events.csv")
    verb.add_argument("--to", type=Path, required=True, metavar="DIRECTORY")
    verb.add_argument("--source", type=Path, metavar="DIRECTORY", help="default: the installed package's data")
    verb.set_defaults(run_verb=convert)

    verb = verbs.add_parser("env", help="the running demo's environment, for a shell or a command beside it")
    verb.add_argument("--run", nargs=argparse.REMAINDER, metavar="COMMAND", help="run this in that environment")
    verb.set_defaults(run_verb=env)

    verb = verbs.add_parser("screenshots", help="the README's pictures, from the running demo")
    verb.set_defaults(run_verb=screenshots)

    verb = verbs.add_parser("vitals", help="what each type of page of the running demo weighs, and how it feels")
    verb.add_argument("--json", action="store_true", help="for a program, instead of the table")
    verb.set_defaults(run_verb=vitals)

    verb = verbs.add_parser("clean", help="forget everything that demos left in .local")
    verb.set_defaults(run_verb=clean)

    arguments = parser.parse_args(words)
    return int(arguments.run_verb(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
