"""What may be loaded: this machine, and another only when its name is given."""

from urllib.parse import urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class NotAllowed(Exception):
    """An address that is not this machine's and that nobody allowed."""


def check(address: str, allowed: str = "") -> None:
    """Raise NotAllowed unless ``address`` is on this machine or its host is the one ``allowed``."""
    host = urlsplit(address).hostname
    if host not in LOOPBACK and (not allowed or host != allowed):
        raise NotAllowed(f"{address} is not this machine; --allow-remote {host} says that you may load it")
