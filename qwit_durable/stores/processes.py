"""Whether a process on this machine is the one that it was: a pid alone is used again.

The file store asks this about the owners of runs, so that a dead one is taken over at once and not after its lease;
the engine asks it about itself, to say who it is. Imports nothing of the package.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cores", "process_started", "this_host"]

_GONE = (b"Z", b"X")
#: Fields of /proc/<pid>/stat, counted behind the parenthesis that closes the name.
_STATE, _START = 0, 19


def this_host() -> str:
    """The name under which workers of this machine are written down."""
    return socket.gethostname()


def cores(root: Path = Path("/")) -> float:
    """How many cores this process may use: those that it is bound to, or its container's or its service's share."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(bound), *_shares(root)])


def _shares(root: Path) -> Iterator[float]:
    """What each control group that this process is in leaves it, in cores: of both versions of them."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for group in groups:
        _, kinds, path = group.split(":", 2)
        top = root / "sys/fs/cgroup" / ("cpu" if kinds else "")
        if kinds and "cpu" not in kinds.split(","):
            continue
        # In a container the path may be the host's, and what is mounted is the container's own.
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            for quota, period in (("cpu.max", None), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
                try:
                    told = [(folder / name).read_text() for name in (quota, period) if name is not None]
                    share, each = map(int, " ".join(told).split())
                except (OSError, ValueError):  # there is no such file, or no limit
                    continue
                if share > 0 and each > 0:
                    yield share / each
            if folder == top:
                break


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
