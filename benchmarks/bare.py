"""What durable steps are measured against: the least that has to be done to have a step's row on disk.

`python -m benchmarks.bare URL THREADS ROWS` is one process of the group-committing loop: it says `ready`, waits for a
line, and says how many seconds it took.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

import psycopg

__all__ = ["commit_grouped", "commit_one_by_one", "commit_to_file", "create_table"]

_COLUMNS = "run_id, number, kind, position, name, args, value"
_ROW = ("resolved", "17", "add", b"[17]", b"18")
_ONE = f"insert into bare ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s)"
_MANY = f"""
    insert into bare ({_COLUMNS})
    select * from unnest(%s::uuid[], %s::int8[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bytea[])
"""


def create_table(url: str) -> None:
    """Make a table of the shape of a history, empty."""
    with psycopg.connect(url) as connection:
        connection.execute("drop table if exists bare")
        connection.execute(
            "create table bare (run_id uuid, number int8, at timestamptz default clock_timestamp(), kind text,"
            " position text, name text, args bytea, value bytea, primary key (run_id, number))"
        )


def commit_one_by_one(url: str, rows: int) -> float:
    """Insert and commit single rows with an ordinary cursor; the seconds it took."""
    with psycopg.connect(url, autocommit=True) as connection:
        run_id = uuid4()

        def insert(number: int) -> None:
            connection.execute(_ONE, (run_id, number, *_ROW), prepare=True, binary=True)

        insert(0)
        return _seconds(lambda: [insert(number) for number in range(1, rows + 1)])


def commit_to_file(path: Path, rows: int) -> float:
    """The same in SQLite, with the journal and the care that the store takes; the seconds it took."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute(
            "create table bare (run_id blob, number integer, kind text, position text, name text, args blob,"
            " value blob, primary key (run_id, number)) without rowid"
        )
        run_id, statement = uuid4().bytes, _ONE.replace("%s", "?")
        return _seconds(
            lambda: [connection.execute(statement, (run_id, number, *_ROW)) for number in range(rows)]
        )


def commit_grouped(url: str, threads: int, rows: int) -> float:
    """Insert rows from several threads over one connection, a batch at a time; the seconds it took."""
    with psycopg.connect(url, autocommit=True) as connection:
        group = _Group(connection)

        def insert() -> None:
            run_id = uuid4()
            for number in range(rows):
                group.write(run_id, number)

        workers = [threading.Thread(target=insert) for _ in range(threads)]

        def work() -> None:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        return _seconds(work)


class _Group:
    """Rows gather while a commit is under way, and the next one takes them all."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._condition = threading.Condition()
        self._waiting: list[tuple[UUID, int]] = []
        self._is_busy = False
        self._done = 0

    def write(self, run_id: UUID, number: int) -> None:
        """Insert a row; return when it is on disk."""
        with self._condition:
            self._waiting.append((run_id, number))
            # The commit after the one that is under way, if one is, has the row.
            mine = self._done + 1 + self._is_busy
            self._condition.wait_for(lambda: self._done >= mine or not self._is_busy)
            if self._done >= mine:
                return
            rows, self._waiting = self._waiting, []
            self._is_busy = True
        columns = zip(*((run_id, number, *_ROW) for run_id, number in rows), strict=True)
        self._connection.execute(_MANY, [list(column) for column in columns], prepare=True, binary=True)
        with self._condition:
            self._is_busy = False
            self._done += 1
            self._condition.notify_all()


def _seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(commit_grouped(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), flush=True)
