"""Worker processes as tests have them: started in groups of their own, killed, stopped and always ended.

What a group said is kept in a file and shown where a test waits in vain. The janitor of `tests.servers` ends what a
test run leaves behind when it is killed itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TypeVar

import pytest

from tests.servers import run
from tests.servers.janitor import born, descendants, kill_tree

ROOT = Path(__file__).resolve().parents[2]
#: Long enough for a machine that is very busy; nothing is expected to take so long.
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.01
_LOG_CHARS = 4000
#: What no log may hold, whatever happened: the engine met something that it did not expect.
_NEVER = ("broke off", "could not be released", "Unexpected failure", "no sweep\n", "no beat\n")

T = TypeVar("T")


def python(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a small program of the application to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | dict(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Group:
    """A command and everything it started, in a process group of its own."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self._path = folder / f"{name}.log"
        with self._path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | dict(environment),
                start_new_session=True,
            )
        (folder / f"{name}.pids").write_text(f"{self.pid} {born(self.pid)}\n")

    @property
    def pid(self) -> int:
        """The leading process."""
        return self._process.pid

    @property
    def pids(self) -> set[int]:
        """Every process of the group that lives now."""
        return {self.pid, *descendants(self.pid)} if self.running else set()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def kill(self) -> None:
        """Kill all of it at once, without a word."""
        kill_tree(self.pid)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def freeze(self) -> None:
        """Stop all of it where it stands: no thread gets on, no beat is sent."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        os.killpg(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask the leading process to stop, as an operator does."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end, and give its exit code."""
        return self._process.wait(PATIENCE_SECONDS)


class Workers:
    """The groups of one test."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._folder = run.new_folder("workers")
        self._numbers = count(1)
        self.groups: list[Group] = []

    def start(
        self,
        *modules: str,
        broker: str = "tests.acceptance.app",
        processes: int = 2,
        threads: int = 4,
        queues: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Group:
        """Start `dramatiq -p 2 -t 4` on the application, on all queues or some."""
        # Dramatiq waits half a minute for a process that died while it was starting.
        options = ["-p", str(processes), "-t", str(threads), "--worker-fork-timeout", "1000"]
        command = [sys.executable, "-m", "dramatiq", *options, broker, *modules]
        if queues:
            command += ["--queues", *queues]
        return self._start("workers", command, environment)

    def start_python(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Group:
        """Start a program of Python's."""
        return self._start("python", [sys.executable, *arguments], environment)

    def _start(self, kind: str, command: Sequence[str], environment: Mapping[str, str] | None) -> Group:
        name = f"{kind}-{next(self._numbers)}"
        group = Group(name, command, self.environment | dict(environment or {}), self._folder)
        self.groups.append(group)
        return group

    def until(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """Wait until `condition` gives something true, and give that."""
        deadline = monotonic() + seconds
        tick = Event()
        while not (found := condition()):
            if monotonic() > deadline:
                pytest.fail(f"not within {seconds:g} s: {what}\n{self.logs()}")
            tick.wait(_POLL_SECONDS)
        return found

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"-- {group.name}, {'running' if group.running else 'ended'}\n{group.log[-_LOG_CHARS:]}"
            for group in self.groups
        )

    def close(self) -> list[str]:
        """Kill what is left; give the lines that no log may hold."""
        for group in self.groups:
            group.kill()
        return [
            f"{group.name}: {line}"
            for group in self.groups
            for line in group.log.splitlines(keepends=True)
            if any(word in line for word in _NEVER)
        ]
