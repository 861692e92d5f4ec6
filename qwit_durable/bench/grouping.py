"""Rows of many threads, a batch at a time: the heart of every bare group-committing loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from qwit_durable.bench.processes import cpu_seconds
from qwit_durable.clock import SystemClock, monotonic
from qwit_durable.ids import new_run_id

__all__ = ["Commits", "Grouped", "Row", "insert_by_threads", "texts"]

#: The id of a run, and the number of a step in it.
Row = tuple[bytes, int]


def texts(number: int) -> tuple[str, bytes, bytes]:
    """The position, the arguments and the value of a step."""
    return str(number), b'{"x":%d}' % number, b"%d" % (number + 1)


class Commits(Protocol):
    """Puts a batch of rows on disk; `pid` is of the process that does it for this one, or 0."""

    @property
    def pid(self) -> int:
        """The server's process."""
        ...

    def __call__(self, rows: Sequence[Row], /) -> None:
        """Return when they are on disk."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


@attrs.frozen
class Grouped:
    """How long it took: from when to when by the monotonic clock, and CPU seconds of this process and the server's."""

    began: float
    ended: float
    cpu: float
    server_cpu: float


class _Group:
    """Rows gather while a commit is under way, and the next one takes them all: no thread waits for a clock."""

    def __init__(self, commit: Commits) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._waiting: list[tuple[Row, threading.Lock]] = []
        self._is_busy = False
        self._heir: threading.Lock | None = None

    def write(self, row: Row, turn: threading.Lock) -> None:
        """Insert a row; return when it is on disk. `turn` is this thread's own, and taken."""
        with self._mutex:
            leads = not self._is_busy
            self._waiting.append((row, turn))
            self._is_busy = True
        if not leads:
            turn.acquire()
            if self._heir is not turn:
                return
            self._heir = None
        with self._mutex:
            batch, self._waiting = self._waiting, []
        self._commit([row for row, _ in batch])
        with self._mutex:
            if self._waiting:
                self._heir = self._waiting[0][1]
            else:
                self._is_busy = False
            heir = self._heir
        if heir is not None:
            heir.release()
        for _, other in batch:
            if other is not turn:
                other.release()


def insert_by_threads(commit: Commits, threads: int, rows: int, go: Callable[[], object]) -> Grouped:
    """Insert so many rows from each of so many threads, and do nothing else; `go` is called when all is ready."""
    group = _Group(commit)
    clock = SystemClock()
    # As the ids of runs are: rows of one run lie together, and those of new runs at the end.
    ids = [new_run_id(clock.now()).bytes for _ in range(threads)]
    commit([(run_id, 0) for run_id in ids])

    def insert(run_id: bytes) -> None:
        turn = threading.Lock()
        turn.acquire()
        for number in range(1, rows + 1):
            if is_over.is_set():
                return
            group.write((run_id, number), turn)

    workers = [threading.Thread(target=insert, args=(run_id,)) for run_id in ids]
    is_over = threading.Event()
    go()
    before, server_before = cpu_seconds(), cpu_seconds(commit.pid)
    began = monotonic()
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        ended = monotonic()
    finally:
        # Who is told to end closes the connection next: not while a thread is inside it.
        is_over.set()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
    return Grouped(began, ended, cpu_seconds() - before, cpu_seconds(commit.pid) - server_before)
