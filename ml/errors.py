"""What goes wrong in this room for a reason that a person can act on."""


class MlError(Exception):
    """One line that names the cause and the cure. ``python -m ml`` prints it and exits with status 2."""
