"""Carrying out SQL on a connection to an SQLite file, and the session over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from qwit_durable.stores.processes import process_started, this_host
from qwit_durable.stores.rows import WorkerRow
from qwit_durable.stores.sql.mapped import Change
from qwit_durable.stores.sql.session import SqlSession
from qwit_durable.stores.sql.table import Columns

__all__ = ["SqliteSession", "SqliteStatements", "is_gone"]


class SqliteStatements:
    """`stores.sql.dialect.Statements`, through a connection or a cursor of one."""

    def __init__(self, place: sqlite3.Connection | sqlite3.Cursor) -> None:
        self._place = place

    def rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Columns]:
        return self._place.execute(sql, params).fetchall()

    def many(self, changes: Sequence[Change]) -> None:
        for sql, rows in changes:
            if len(rows) == 1:
                self._place.execute(sql, rows[0])
            else:
                self._place.executemany(sql, rows)


def is_gone(row: WorkerRow) -> bool:
    """Whether a worker's process is known to have ended."""
    if row.host != this_host():
        return False
    started = process_started(row.pid)
    # 0.0 stands for a machine that does not tell when a process began.
    return started is None or row.process_started not in (started, 0.0)


class SqliteSession(SqlSession):
    """A worker whose process is gone is dead, whatever its lease says."""

    def is_alive(self, row: WorkerRow) -> bool:
        return super().is_alive(row) and not is_gone(row)
