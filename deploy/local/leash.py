"""Become a command that the kernel ends when its parent dies: ``python leash.py PARENT_PID COMMAND…``.

A program of its own, since the wish must be made by the child itself, between fork and exec: Python's preexec_fn
would run there too, but is unsafe in a parent that has threads, which the local cloud has.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def become(parent: int, command: list[str]) -> None:
    """Replace this process by ``command``. SIGTERM, not SIGKILL: a server then ends its own workers as well."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the wish was made
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the commands are the supervisor's own


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
