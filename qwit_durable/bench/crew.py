"""Who works on the runs: ordinary Dramatiq workers where there is a broker, else threads of this process.

Either stands still while work is prepared, so that what is timed is the work alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from qwit_durable.app import Durable
from qwit_durable.bench.bodies import GATE, PLAIN_QUEUE, QUEUE, wait_at_gate
from qwit_durable.bench.place import Place
from qwit_durable.bench.plan import BenchFailed
from qwit_durable.bench.processes import all_pids
from qwit_durable.clock import monotonic

__all__ = ["Crew", "Embedded", "Workers", "pause", "wait_until"]

_LOG_CHARS = 2_000


def pause(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(seconds)


class Crew(Protocol):
    """Works on runs."""

    @property
    def processes(self) -> int:
        """How many processes work."""
        ...

    @property
    def pids(self) -> list[int]:
        """Which they are."""
        ...

    @contextmanager
    def held(self) -> Generator[None]:
        """Nothing is worked on until the block ends."""
        ...

    def check(self) -> None:
        """Raise `BenchFailed` if it has ended."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Embedded:
    """Threads of this process."""

    processes = 1

    def __init__(self, durable: Durable, threads: int) -> None:
        self._durable = durable
        self._threads = threads
        self._stack = ExitStack()
        self._stack.enter_context(durable.embedded(threads=threads))

    @property
    def pids(self) -> list[int]:
        return [os.getpid()]

    @contextmanager
    def held(self) -> Generator[None]:
        GATE.close()
        try:
            for _ in range(self._threads):
                self._durable.start(wait_at_gate)
            GATE.wait_for(self._threads)
            yield
        finally:
            GATE.open()

    def check(self) -> None:
        """Threads end with the process."""

    def close(self) -> None:
        self._stack.close()


class Workers:
    """`dramatiq -p … -t …` on the queues of the benchmark alone.

    Args:
        place: Told to them.
        processes: How many.
        threads: Of each.
        module: What they load.
    """

    def __init__(self, place: Place, processes: int, threads: int, *, module: str = "worker") -> None:
        self.processes = processes
        self._log = Path(place.folder) / f"{module}.log"
        command = [sys.executable, "-m", "dramatiq", "-p", str(processes), "-t", str(threads)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                [*command, f"qwit_durable.bench.{module}:broker", "--queues", QUEUE, PLAIN_QUEUE],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **place.to_environment()},
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        """All of the group, Dramatiq's main process too."""
        group = self._process.pid
        return [pid for pid in all_pids() if _group_of(pid) == group]

    @contextmanager
    def held(self) -> Generator[None]:
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise BenchFailed(f"the workers have ended by themselves:\n{self.log}")

    @property
    def log(self) -> str:
        """The last of what they said."""
        return self._log.read_text(errors="replace")[-_LOG_CHARS:]

    def kill(self) -> None:
        """End all of them at once, as `kill -9` does."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def wait_until(
    crew: Crew, is_done: Callable[[], Any], *, patience_seconds: float, poll_seconds: float
) -> None:
    """Look again and again.

    Raises:
        BenchFailed: It takes too long, or the crew has ended.
    """
    began = monotonic()
    while not is_done():
        crew.check()
        if monotonic() - began > patience_seconds:
            raise BenchFailed(
                f"this is not done after {patience_seconds:,.0f} s; the machine is too slow for it"
            )
        pause(poll_seconds)
