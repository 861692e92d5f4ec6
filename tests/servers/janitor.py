"""Ends what a test run started and removes its files, whatever became of the run itself.

Run as a program with the run's directories as arguments: it waits until standard input says a line or ends, which it
does when the run is killed too, then kills every process named in `*.pids` and removes the directories. It stands
alone: standard library only, so that it can start with `-I -S` in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE_SECONDS = 5.0


def born(pid: int) -> str:
    """When the process began, in a form to be compared, so that a number used again is not taken for the old one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, at this moment; servers give their children groups and sessions of their own."""
    found = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    if Path("/proc/self/task").is_dir():
        found: list[int] = []
        # A process may end while it is looked at, at any of these steps.
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
        return found
    answer = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(text) for text in answer.stdout.split()]


def kill_tree(pid: int, since: str = "") -> None:
    """Kill a group's leader, its group and everything below it, at once and without asking.

    Args:
        pid: The leader of a process group.
        since: What `born` said of it when it was started; a process that began at another time is left alone.
    """
    if since and born(pid) != since:
        return
    below = descendants(pid)
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    for each in (pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def end(pid: int, quick_signal: int, since: str) -> None:
    """Kill a group's leader and everything below it.

    Args:
        pid: The leader.
        quick_signal: What makes it end quickly and give back what the system does not take back by itself, such as
            shared memory; 0 where there is nothing of that kind.
        since: See `kill_tree`.
    """
    if quick_signal and born(pid) == since:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, quick_signal)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.01)  # it is no child of this process: its end can't be waited for
    kill_tree(pid, since)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and whose parent did not ask yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return not Path("/proc/self").exists()


def clean(directory: Path) -> None:
    """Kill what is written down in `directory` and remove it, if it is there at all."""
    for record in directory.rglob("*.pids"):
        for line in record.read_text().splitlines():
            pid, quick_signal, *since = line.split()
            end(int(pid), int(quick_signal), "".join(since))
    shutil.rmtree(directory, ignore_errors=True)
    # A process on its way out may have written one more file meanwhile.
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.readline()
    for argument in sys.argv[1:]:
        clean(Path(argument))
