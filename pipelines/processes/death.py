"""A child that ends with its parent, whatever ends the parent."""

import ctypes
import os
import signal

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def ends_with_parent(number: signal.Signals, parent: int) -> None:
    """Called in the child before its program begins: the kernel sends it this signal when the parent ends (Linux)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), number)
