"""Become a command on one core that ends with its parent: ``python -IS pinned.py PARENT_PID CORE COMMAND…``.

A program of its own, since both must be asked for by the child itself, between fork and exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

if __name__ == "__main__":
    parent, core, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.sched_setaffinity(0, {core})
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before this was asked for
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the bench's own commands
