"""The web server: ``python -m storefront --port 8000``, with any option of granian's and any of its GRANIAN_ variables.

Demo, load tests, benchmark and image start it so, and thus run what was measured.
"""

import sys

from granian.cli import cli

DEFAULTS = {
    "interface": "wsgi",
    # Python runs one of them at a time whatever their number, and the more there are, the more requests take turns and
    # all end late instead of one after the other. Not one alone: it may be waiting for the database.
    "blocking_threads": 2,
}

if __name__ == "__main__":
    cli([*sys.argv[1:], "storefront.wsgi:application"], auto_envvar_prefix="GRANIAN", default_map=DEFAULTS)
