"""The connections of one process to an SQLite file, and what becomes of them at a fork.

SQLite keeps a table of its locks in the process, and a fork copies it: a child that opens the file anew believes that
it has locks which only its parent has. It would wait for ever for a writer that it copied, and once the parent closes
the file, what the child commits goes to a log that is there no more, and is lost. So before a fork each connection is
closed, once the write and the reads under way are done, and both sides open the file anew. Where that can't be, as in
the midst of a transactional step, the child is refused the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from weakref import WeakSet

from qwit_durable.clock import monotonic
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.sqlite.shared import StepConnection

__all__ = ["InProcess", "Processes"]


class InProcess:
    """The connections of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.writer: sqlite3.Connection | None = None
        self.steps: WeakSet[StepConnection] = WeakSet()
        self._idle: list[sqlite3.Connection] = []
        self._reading = 0
        self._held: list[threading.Lock | threading.Condition] = []
        self._changed = threading.Condition(threading.Lock())

    @contextmanager
    def reader(self, connect: Callable[[], sqlite3.Connection]) -> Generator[sqlite3.Connection]:
        """A connection to read from. One per reader at work, not per thread: threads come and go."""
        with self._changed:
            self._reading += 1
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close what is not in use. The lock is held."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        while self._idle:
            self._idle.pop().close()

    def close_for_fork(self, seconds: float) -> bool:
        """Wait for what is under way, close all, and keep others out until `reopen`; whether nothing is left open."""
        # A step's takes as long as the step, and it may be the step that forks.
        if any(step.is_open for step in self.steps):
            return False
        until = monotonic() + seconds
        if not self.lock.acquire(timeout=seconds):
            return False
        self._held.append(self.lock)
        self._changed.acquire()
        self._held.append(self._changed)
        is_read = not self._changed.wait_for(lambda: not self._reading, max(until - monotonic(), 0.0))
        if is_read or any(step.is_open for step in self.steps):
            return False
        self.close()
        return True

    def reopen(self) -> None:
        """Let others go on after a fork."""
        while self._held:
            self._held.pop().release()


class Processes:
    """What each process has of one file. A fork begins anew.

    Args:
        url: The file's, for errors.
        seconds: How long a fork waits for what is under way.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        # By pid. What could not be closed stays here unused.
        self._processes: dict[int, InProcess] = {}
        self._forking: InProcess | None = None
        self._is_clean = True
        self._is_refused = False
        _all.add(self)

    @property
    def here(self) -> InProcess:
        """This process's.

        Raises:
            StoreUnavailable: It was forked while its parent could not close the file.
        """
        here = self._processes.get(os.getpid())
        if here is not None:
            return here
        if self._is_refused:
            msg = (
                f"the store {self._url} can't be used: this process was forked while its parent was in the midst of a "
                f"transaction on the file, and SQLite's locks do not survive that. Fork before the transactional step "
                f"begins or after it has ended, or start the process by spawn: multiprocessing.get_context('spawn')"
            )
            raise StoreUnavailable(msg)
        return self._processes.setdefault(os.getpid(), InProcess())

    def close(self) -> None:
        """Close what this process has open."""
        here = self._processes.get(os.getpid())
        if here is not None:
            with here.lock:
                here.close()

    def before_fork(self) -> None:
        """Close all, if it can be."""
        self._forking = self._processes.get(os.getpid())
        self._is_clean = self._forking is None or self._forking.close_for_fork(self._seconds)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._forking is not None:
            self._forking.reopen()
            self._forking = None

    def after_fork_in_child(self) -> None:
        """Begin anew, or never."""
        self._forking = None
        self._is_refused = self._is_refused or not self._is_clean


_all: WeakSet[Processes] = WeakSet()
_forking: list[Processes] = []


def _before() -> None:
    _forking[:] = list(_all)
    for processes in _forking:
        processes.before_fork()


def _after_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_in_child() -> None:
    while _forking:
        _forking.pop().after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
