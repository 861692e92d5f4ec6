"""Transactions on an SQLite file that users and the engine share.

SQLite has one writer at a time, so a transactional step keeps the whole file from the moment it asks for its connection
until it returns. It can't end its transaction by itself: the connection refuses, and so does SQLite, through an
authorizer, whatever the statement looks like. Neighbour: `stores.transactions` says what the transactions are for.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import attrs

from qwit_durable.clock import Clock
from qwit_durable.errors import DefinitionError, MisuseError, StoreError, describe
from qwit_durable.stores.answers import Answer, Fenced
from qwit_durable.stores.kernel import perform
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.sqlite.session import SqliteSession, SqliteStatements
from qwit_durable.stores.sqlite.waiting import BEGIN, is_busy, wait_oneself, when_free
from qwit_durable.stores.transactions import StepTransaction, driver_connection, refused
from qwit_durable.stores.writes import Commit, ResolveTask, Start

__all__ = ["SharedFile", "SqliteTransaction", "StepConnection"]


@contextmanager
def _statements(connection: sqlite3.Connection) -> Generator[SqliteStatements]:
    """Carry out statements of ours on a connection of theirs, whose settings are not ours and stay as they are."""
    text_factory, connection.text_factory = connection.text_factory, str
    cursor = sqlite3.Cursor(connection)
    cursor.row_factory = None
    try:
        yield SqliteStatements(cursor)
    finally:
        connection.text_factory = text_factory
        cursor.close()


@attrs.frozen(kw_only=True)
class SharedFile:
    """A store's file, as far as transactions of others on it are concerned."""

    url: str
    path: Path
    tables: Tables
    cache: RunCache
    clock: Clock

    def start(self, given: object, write: Start) -> Answer:
        """Carry out a start in a caller's transaction. What fails leaves that as it was.

        Raises:
            DefinitionError: It is no connection of Python's `sqlite3` to this file, or can have no transaction.
            StoreError: The row can't be stored, or the file is locked.
        """
        connection = self._checked(driver_connection(given))
        begins = not connection.in_transaction
        with self._explained(), _statements(connection) as statements:
            if begins:
                # What the driver does before the first write; here, because reading comes first.
                statements.rows("BEGIN IMMEDIATE")
            statements.rows("SAVEPOINT qwit_start")
            try:
                session = SqliteSession(self.tables, statements, self.cache, self.clock.now())
                answer = perform(session, attrs.evolve(write, within=True))
                session.flush()
            except BaseException:
                statements.rows("ROLLBACK" if begins else "ROLLBACK TO qwit_start")
                if not begins:
                    statements.rows("RELEASE qwit_start")
                raise
            statements.rows("RELEASE qwit_start")
            return answer

    def _checked(self, connection: object) -> sqlite3.Connection:
        if not isinstance(connection, sqlite3.Connection):
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            msg = (
                f"connection= is a {kind}, and the store {self.url} takes a connection of Python's sqlite3, or "
                f"SQLAlchemy's or Django's over one\n"
                f"  way out: start without connection=; or do both in a step that is transactional"
            )
            raise DefinitionError(msg)
        with self._explained(), _statements(connection) as statements:
            found = next((row[2] for row in statements.rows("PRAGMA database_list") if row[1] == "main"), "")
        if not (found and self.path.exists() and Path(found).samefile(self.path)):
            msg = (
                f"connection= is to {found or 'a database in memory'!r} and the store is {self.url}: one transaction "
                f"can't span two files\n"
                f"  way out: keep the application's tables in the store's file, or the store in the application's"
            )
            raise DefinitionError(msg)
        autocommits = connection.isolation_level is None or getattr(connection, "autocommit", None) is True
        if autocommits and not connection.in_transaction:
            msg = (
                f"connection={describe(connection)} commits each statement by itself, and no transaction is open\n"
                f'  right:  connection.execute("BEGIN IMMEDIATE"), then start, then connection.execute("COMMIT")'
            )
            raise DefinitionError(msg)
        return connection

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            locked = is_busy(error)
            hint = (
                "another transaction holds the file. Let connections wait (timeout=), and begin those that read before "
                'they write with "BEGIN IMMEDIATE"'
                if locked
                else "nothing was stored, and the transaction is as it was"
            )
            raise StoreError(
                f"the run could not be stored in the given transaction: {error}; {hint}"
            ) from error
        except (OverflowError, ValueError) as error:
            raise StoreError(f"a row can't be stored in {self.url}: {error}") from error


# -- a connection for a step -----------------------------------------------------------------------------------


class StepCursor(sqlite3.Cursor):
    """A cursor whose statements end before an abandoned attempt is rolled back."""

    def execute(self, sql: str, parameters: Any = (), /) -> StepCursor:
        with cast("StepConnection", self.connection).at_work():
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, seq_of_parameters: Any, /) -> StepCursor:
        with cast("StepConnection", self.connection).at_work():
            super().executemany(sql, seq_of_parameters)
        return self

    def executescript(self, _: str, /) -> NoReturn:
        raise refused("executescript(), which commits first,")


class StepConnection(sqlite3.Connection):
    """What `current().connection` is: all that `sqlite3` has, but for ending the transaction."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._working = threading.RLock()
        self._is_over = False
        self._may_end = False
        self.is_open = True

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Around each statement."""
        with self._working:
            if self._is_over:
                msg = "the attempt that this connection belongs to took too long, and was rolled back"
                raise MisuseError(msg)
            yield

    def cursor(self, factory: Callable[[sqlite3.Connection], Any] = StepCursor) -> Any:  # type: ignore[override]
        return super().cursor(factory)

    def commit(self) -> NoReturn:
        raise refused("commit()")

    def rollback(self) -> NoReturn:
        raise refused("rollback()")

    def close(self) -> NoReturn:
        raise refused("close()")

    def __enter__(self) -> NoReturn:
        raise refused("`with`, which commits at its end,")

    # -- for the engine ----------------------------------------------------------------------------------------

    def begin(self, busy_seconds: float) -> None:
        """Take the file, and from now on keep statements from ending the transaction."""
        wait_oneself(self)
        when_free(self, BEGIN, busy_seconds)
        wait_oneself(self, busy_seconds)
        self.set_authorizer(self._authorize)

    def _authorize(self, action: int, *_: object) -> int:
        may = self._may_end if action == sqlite3.SQLITE_TRANSACTION else not self._is_over
        return sqlite3.SQLITE_OK if may else sqlite3.SQLITE_DENY

    def finish(self) -> None:
        """Commit."""
        self._may_end = True
        super().commit()

    def break_off(self) -> None:
        """Roll back beside the attempt's thread: its statement is interrupted, and it can begin no other."""
        self._is_over = True
        self.interrupt()
        with self._working:
            self._may_end = True
            super().rollback()

    def put_away(self) -> None:
        """Roll back what is left, and close."""
        self._may_end = True
        with suppress(sqlite3.Error):
            super().rollback()
        super().close()
        self.is_open = False


class SqliteTransaction(StepTransaction[StepConnection]):
    """The transaction of one attempt.

    Args:
        file: The store's.
        connect: Makes a connection whose transaction has begun.
    """

    is_exclusive = True

    def __init__(self, file: SharedFile, connect: Callable[[], StepConnection]) -> None:
        super().__init__()
        self._file = file
        self._connect = connect

    def _begin(self) -> StepConnection:
        return self._connect()

    def _commit(self, connection: StepConnection, write: Commit | ResolveTask) -> Answer:
        if not connection.in_transaction:
            msg = (
                "the transaction of a transactional step has ended before the step did: nothing of it is written\n"
                "  likely cause: a statement with ON CONFLICT ROLLBACK met a conflict\n"
                "  way out: ON CONFLICT ABORT, which is the default"
            )
            raise MisuseError(msg)
        with _statements(connection) as statements:
            session = SqliteSession(self._file.tables, statements, self._file.cache, self._file.clock.now())
            answer = perform(session, write)
            if not isinstance(answer, Fenced):
                session.flush()
                connection.finish()
                session.committed()
            return answer

    def _abandon(self, connection: StepConnection) -> None:
        connection.break_off()

    def _end(self, connection: StepConnection) -> None:
        connection.put_away()
