"""Whether a process on this machine is the one that it was: a pid alone is used again.

The file store asks this about the owners of runs, so that a dead one is taken over at once and not after its lease;
the engine asks it about itself, to say who it is. Imports nothing of the package.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["cores", "process_started", "this_host"]

_GONE = (b"Z", b"X")
#: Fields of /proc/<pid>/stat, counted behind the parenthesis that closes the name.
_STATE, _START = 0, 19


def this_host() -> str:
    """The name under which workers of this machine are written down."""
    return socket.gethostname()


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """How many cores this process may use: those that it is bound to, or its container's share of them."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return min(bound, int(share) / int(period))
    except (OSError, ValueError):  # there is no such file, or no limit
        return bound


def process_started(pid: int) -> float | None:
    """When a process began, by the machine's own count; None if there is no such process.

    The number says nothing but "the same process": on Linux it is seconds since boot, elsewhere 0.0 for any process
    that exists. One that has died and waits to be collected by its parent is gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _exists(pid)
    except OSError:
        return None
    # The name, in parentheses, may itself hold blanks and parentheses.
    fields = stat[stat.rindex(b")") + 1 :].split()
    return None if fields[_STATE] in _GONE else int(fields[_START]) / os.sysconf("SC_CLK_TCK")


def _exists(pid: int) -> float | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0.0
