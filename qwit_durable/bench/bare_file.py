"""The limits in an SQLite file: rows of the shape of a step's, one by one and in groups, with the store's care."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from qwit_durable.bench.bare import Bare
from qwit_durable.bench.grouping import Row, insert_by_threads, texts
from qwit_durable.clock import monotonic
from qwit_durable.ids import new_uuid4

__all__ = ["commit_grouped_to_file", "commit_to_file"]

_DDL = """
    create table bare (run_id blob not null, number integer not null, at integer not null, attempt integer not null,
    kind text not null, position text not null, name text not null, args blob not null, value blob not null,
    detail blob not null, primary key (run_id, number)) without rowid
"""
_INSERT = "insert into bare values (?, ?, ?, 1, 'resolved', ?, 'qwit-bench.add', ?, ?, '')"


class _File:
    """A batch of rows in one transaction."""

    pid = 0

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute(_DDL)

    def __call__(self, rows: Sequence[Row], /) -> None:
        at = int(monotonic() * 1_000_000)
        self._connection.execute("begin immediate")
        self._connection.executemany(_INSERT, [(run_id, n, at, *texts(n)) for run_id, n in rows])
        self._connection.execute("commit")

    def close(self) -> None:
        self._connection.close()


def commit_grouped_to_file(path: Path, *, threads: int, rows: int) -> Bare:
    """So many threads insert so many rows each and do nothing else."""
    with closing(_File(path)) as file:
        return Bare.of([insert_by_threads(file, threads, rows, lambda: None)], threads * rows)


def commit_to_file(path: Path, rows: int) -> float:
    """Insert and commit single rows; the seconds it took."""
    with closing(_File(path)) as file:
        run_id = new_uuid4().bytes
        began = monotonic()
        for number in range(rows):
            file([(run_id, number)])
        return monotonic() - began
