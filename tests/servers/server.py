"""What every server has in common: a folder, a port, a leading process, and how it is started and ended."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, ClassVar, Self

from tests.servers import run
from tests.servers.janitor import born, kill_tree

_POLL_SECONDS = 0.02


class Unavailable(Exception):
    """This machine has no such server; the message says where one was looked for."""


class ServerFailed(Exception):
    """The server ended by itself or did not become ready; the message has the end of its log."""


def free_port() -> int:
    """A port that nobody listens on, below the range that outgoing connections take theirs from.

    A server that is down for a moment could otherwise lose its port to a connection of some client.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server(ABC):
    """A server that this process started, or one that it was told of.

    Started: `start`, `stop`, `kill`, `restart` (same port, same data), `discard`. Told of, through `at`: `url` only.
    """

    kind: ClassVar[str]
    start_timeout_seconds: ClassVar[float] = 30.0
    stop_timeout_seconds: ClassVar[float] = 15.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    # Ends it quickly, but so that it gives back what a killed process leaves in the system, such as shared memory.
    quick_signal: ClassVar[int] = 0
    gives_up_root: ClassVar[bool] = False

    def __init__(self, *, in_memory: bool = False) -> None:
        self.source = self.locate()
        self.folder = run.new_folder(self.kind, in_memory=in_memory)
        self.port = free_port()
        self._told_url: str | None = None
        self._told_pid: int | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._prepared = False

    @classmethod
    def at(cls, url: str, source: str, pid: int | None = None) -> Self:
        """A server that somebody else started and will end."""
        server = cls.__new__(cls)
        server.source, server._told_url, server._told_pid, server._processes = source, url, pid, []
        return server

    @classmethod
    @abstractmethod
    def locate(cls) -> str:
        """Where the programs come from, in words; raises `Unavailable`. Starts nothing."""

    @abstractmethod
    def _own_url(self) -> str: ...

    @abstractmethod
    def _prepare(self) -> None:
        """Make what has to exist before the first start."""

    @abstractmethod
    def _launch(self) -> None:
        """Start the processes, each through `_run`; the leading one last."""

    def _give_back(self) -> None:  # noqa: B027 - most kinds have nothing to give back
        """Give back what the system keeps of a killed process."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether a client gets an answer."""

    @property
    def url(self) -> str:
        return self._told_url if self._told_url is not None else self._own_url()

    @property
    def pid(self) -> int:
        """The leading process: the server's parent process, and the leader of its group."""
        if self._told_pid is not None:
            return self._told_pid
        if not self._processes:
            raise ServerFailed(f"{self.kind}: not running here, so it has no pid")
        return self._processes[-1].pid

    @property
    def running(self) -> bool:
        return bool(self._processes) and self._processes[-1].poll() is None

    @property
    def log(self) -> str:
        """What the server has said so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start it and return when it answers. Before the first start, a port that was taken meanwhile is changed."""
        self._refuse_if_told_of("start")
        for last in (False, False, True):
            if not self._prepared:
                self._prepare()
            try:
                self._launch()
                self._wait_until_ready()
            except ServerFailed:
                self.kill()
                taken = any(word in self.log for word in ("in use", "already_used", "eaddrinuse"))
                if last or self._prepared or not taken:
                    raise
                self.port = free_port()
            else:
                self._prepared = True
                break
        return self

    def stop(self) -> None:
        """End it in order, and kill it where it does not."""
        self._refuse_if_told_of("stop")
        if self.running:
            os.killpg(self.pid, self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._processes[-1].wait(self.stop_timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill it and everything it started, all at once and without a word; its files stay."""
        self._refuse_if_told_of("kill")
        for process in reversed(self._processes):
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()
        self._processes.clear()
        self._write_down()

    def restart(self) -> Self:
        """Stop it if it runs and start it again with the same port and data."""
        self.stop()
        return self.start()

    def discard(self) -> None:
        """End it quickly and remove its files."""
        self._refuse_if_told_of("discard")
        if self.running and self.quick_signal:
            os.kill(self.pid, self.quick_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._processes[-1].wait(self.stop_timeout_seconds)
        self.kill()
        self._give_back()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _run(self, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
        """Start a process that stays, in a session of its own."""
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                **(as_unprivileged() if self.gives_up_root else {}),
            )
        self._processes.append(process)
        self._write_down()

    def _write_down(self) -> None:
        """Name the running processes where the janitor looks."""
        lines = [f"{process.pid} {self.quick_signal} {born(process.pid)}\n" for process in self._processes]
        if self.folder.is_dir():
            (self.folder / "server.pids").write_text("".join(lines))

    def _wait_until_ready(self) -> None:
        deadline = monotonic() + self.start_timeout_seconds
        while not self.is_ready():
            if not self.running:
                raise ServerFailed(f"{self.kind} ended while starting; {self.folder}:\n{self.log[-3000:]}")
            if monotonic() > deadline:
                raise ServerFailed(
                    f"{self.kind} gave no answer within {self.start_timeout_seconds} s:\n{self.log[-3000:]}"
                )
            Event().wait(_POLL_SECONDS)

    def _refuse_if_told_of(self, verb: str) -> None:
        if self._told_url is not None:
            raise ServerFailed(
                f"{self.kind} at {self._told_url} is shared or not ours: a test must not {verb} it. "
                f"Ask for a server of your own: the fixture own_{self.kind}."
            )


def as_unprivileged() -> dict[str, Any]:
    """Arguments for `subprocess` that give up root in the child."""
    user = run.unprivileged_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
