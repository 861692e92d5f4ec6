"""What steps did to the outside, in a SQLite file that every process of a test writes to.

An effect is made once by its idempotency key, as a well-made step would have it; every attempt is taken down too. The
file is not the store's, so it tells the truth about what happened whatever became of the store.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from qwit_durable import current

_SCHEMA = """
    create table if not exists attempt (
        n integer primary key, key text, run text, what text, attempt integer, pid integer
    );
    create table if not exists effect (key text primary key, run text, what text);
    create table if not exists undone (key text primary key, run text, what text);
    create table if not exists message (n integer primary key, actor text, queue text, broker text, pid integer);
    create table if not exists note (n integer primary key, what text, pid integer)
"""


class Ledger:
    """The file. Each call has a connection of its own: a process that dies in the middle leaves nothing half done."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def create(self) -> sqlite3.Connection:
        """Make the tables. The connection is to be kept open: the last one to close would tidy up the file."""
        connection = self._connect()
        connection.execute("pragma journal_mode = wal")
        connection.executescript(_SCHEMA)
        return connection

    # -- for steps ---------------------------------------------------------------------------------------------

    def begin(self, what: str) -> None:
        """Take down that an attempt has begun."""
        step = current()
        self._write(
            "insert into attempt (key, run, what, attempt, pid) values (?, ?, ?, ?, ?)",
            (step.idempotency_key, step.run_id, what, step.attempt, os.getpid()),
        )

    def do(self, what: str) -> None:
        """Make an effect, once."""
        step = current()
        self._write(
            "insert or ignore into effect values (?, ?, ?)", (step.idempotency_key, step.run_id, what)
        )

    def undo(self, what: str) -> None:
        """Undo an effect, once."""
        step = current()
        self._write(
            "insert or ignore into undone values (?, ?, ?)", (step.idempotency_key, step.run_id, what)
        )

    def note(self, what: str) -> None:
        """Take down anything."""
        self._write("insert into note (what, pid) values (?, ?)", (what, os.getpid()))

    def message(self, actor: str, queue: str, broker: str) -> None:
        """Take down that a worker has received a message."""
        self._write(
            "insert into message (actor, queue, broker, pid) values (?, ?, ?, ?)",
            (actor, queue, broker, os.getpid()),
        )

    # -- for tests ---------------------------------------------------------------------------------------------

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with closing(self._connect()) as connection:
            return connection.execute(query, values).fetchall()

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.rows(f"select count(*) from {table}")[0][0])

    def attempts(self, what: str) -> list[int]:
        """The numbers of the attempts that began, in order."""
        return [
            number
            for (number,) in self.rows("select attempt from attempt where what = ? order by n", (what,))
        ]

    def pids(self, what: str = "%") -> set[int]:
        """The processes in which attempts began."""
        return {pid for (pid,) in self.rows("select pid from attempt where what like ?", (what,))}

    def notes(self) -> list[str]:
        """What was noted, in order."""
        return [what for (what,) in self.rows("select what from note order by n")]

    def standing(self) -> Counter[str]:
        """The effects that were made and not undone; a negative count is an undo too many."""
        standing = Counter(what for (what,) in self.rows("select what from effect"))
        standing.subtract(Counter(what for (what,) in self.rows("select what from undone")))
        return Counter({what: count for what, count in standing.items() if count})

    # ----------------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute("pragma synchronous = off")  # processes die here, machines don't
        return connection

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with closing(self._connect()) as connection:
            connection.execute(statement, values)


def ledger() -> Ledger:
    """The ledger that the environment names: steps find it in whatever process they run."""
    return Ledger(os.environ["APP_LEDGER"])
