"""``python healthy.py URL``: the images' HEALTHCHECK, without curl. Exit status 0 if the address answers 200.

Variables in the address (``$GRANIAN_PORT``) are read here, because a HEALTHCHECK in exec form has no shell.
"""

import os
import sys
import urllib.request


def main(url: str) -> int:
    host = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0].lstrip(".*") or "localhost"
    # As the proxy that ends TLS would ask: the shop answers its own hosts alone, and plain HTTP with a redirection.
    headers = {"Host": host, "X-Forwarded-Proto": "https"}
    request = urllib.request.Request(os.path.expandvars(url), headers=headers)  # noqa: S310 - the image's own address
    try:
        with urllib.request.urlopen(request, timeout=2):  # noqa: S310 - which raises unless the answer is a good one
            return 0
    except OSError as error:
        print(f"{request.full_url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
