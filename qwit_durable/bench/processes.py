"""What processes of this machine have used: from /proc, so 0 where there is none, or for a process elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["all_pids", "cpu_seconds", "cpu_seconds_of", "resident_bytes"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def all_pids() -> list[int]:
    """Every process of this machine."""
    proc = Path("/proc")
    return [int(path.name) for path in proc.iterdir() if path.name.isdigit()] if proc.exists() else []


def cpu_seconds(pid: int | None = None) -> float:
    """CPU time that a process has used; without a number, this one."""
    if pid is None:
        used = os.times()
        return used.user + used.system
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of(pids: Iterable[int]) -> float:
    """Of all of these."""
    return sum(map(cpu_seconds, pids))


def resident_bytes(pid: int) -> int:
    """Memory of a process that is not swapped out."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
