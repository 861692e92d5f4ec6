"""Transactions on a Postgres server that users and the engine share.

Rows cross a user's connection as they cross ours, whatever adapters, factories and settings it has: our statements have
cursors of their own, with adapters of their own. Neighbour: `stores.transactions` says what the transactions are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn, cast
from uuid import UUID

import attrs
import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from qwit_durable.errors import DefinitionError, MisuseError, StoreError, describe
from qwit_durable.stores.answers import Answer, Fenced
from qwit_durable.stores.kernel import perform
from qwit_durable.stores.postgres.ahead import PgSession
from qwit_durable.stores.postgres.connecting import (
    Address,
    Connection,
    PgStatements,
    adapt_map,
    explain,
    is_lost,
    is_stale,
    is_worth_repeating,
)
from qwit_durable.stores.rows import LiveRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.transactions import StepTransaction, driver_connection, refused
from qwit_durable.stores.writes import Commit, ResolveTask, Start

__all__ = ["PLACE", "PgTransaction", "SharedDatabase", "StepConnection"]

_IDLE_CONNECTIONS = 8
_CANCEL_SECONDS = 2.0
#: Which database of which server this is, and whether a store lies in it.
PLACE = "SELECT current_database(), pg_postmaster_start_time(), to_regclass('qwit.migration') IS NOT NULL"


class _OwnCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that reads and writes values as the store does, on anybody's connection."""

    _ours = AdaptersMap(psycopg.adapters)

    @property
    def adapters(self) -> AdaptersMap:
        return self._ours


adapt_map(_OwnCursor._ours)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - once, as connections are


class _Statements(PgStatements):
    """Statements of ours on a connection of theirs."""

    def new_cursor(self, *, binary: bool = False) -> psycopg.Cursor[tuple[Any, ...]]:
        cursor = _OwnCursor(self._connection, row_factory=tuple_row)
        cursor.format = psycopg.pq.Format.BINARY if binary else psycopg.pq.Format.TEXT
        return cursor


class _StartSession(PgSession):
    """Runs that exist are looked at, and not locked: a caller's transaction may be long."""

    def live(self, run_id: UUID) -> LiveRow | None:
        return Mapped(self._tables.live, self._statements).get(run_id)


@attrs.frozen(kw_only=True)
class SharedDatabase:
    """A store's database, as far as transactions of others on it are concerned.

    Attributes:
        place: What `PLACE` answers on a connection of the store.
        known: What it has answered; more than one, where the server was started again.
        now: The time, if it is not the server's.
    """

    address: Address
    tables: Tables
    cache: RunCache
    place: Callable[[], Sequence[Any]]
    now: Callable[[], datetime | None]
    known: set[tuple[Any, ...]] = attrs.field(factory=set[tuple[Any, ...]])

    def start(self, given: object, write: Start) -> Answer:
        """Carry out a start in a caller's transaction. What fails leaves that as it was.

        Raises:
            DefinitionError: It is no psycopg `Connection` to this database, or has no transaction.
            StoreError: The row can't be stored.
        """
        connection = self._checked(driver_connection(given))
        statements = _Statements(connection)
        try:
            self._check_place(connection, statements.rows(PLACE)[0])
            # Inside the transaction that is open, or that the statement before has opened, this is a savepoint.
            with connection.transaction():
                session = _StartSession(self.tables, statements, self.cache)
                write = attrs.evolve(write, within=True)
                session.begin(statements, [write], self.now(), opens=False)
                answer = perform(session, write)
                statements.many(session.changes())
        except psycopg.Error as error:
            if is_worth_repeating(error):
                msg = (
                    f"run {write.run.key!r} could not be stored in the given transaction: another one has stored it, "
                    f"or changed it, since this one began ({error})\n"
                    f"  way out: repeat the whole transaction; READ COMMITTED, the server's default, meets this least"
                )
                raise StoreError(msg) from error
            raise explain(error, self.address.where) from error
        return answer

    def _checked(self, connection: object) -> Connection:
        if not isinstance(connection, psycopg.Connection):
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            is_async = isinstance(connection, psycopg.AsyncConnection) or "async" in kind.lower()
            way = (
                "in asyncio code, await asyncio.to_thread(...) a function that does both on a psycopg.Connection"
                if is_async
                else "open it with psycopg (version 3), or start without connection="
            )
            msg = (
                f"connection= is a {kind}, and the store at {self.address.where} takes a psycopg.Connection, or "
                f"SQLAlchemy's or Django's over one\n"
                f"  way out: {way}"
            )
            raise DefinitionError(msg)
        status = connection.info.transaction_status
        if status is TransactionStatus.IDLE and connection.autocommit:
            msg = (
                f"connection={describe(connection)} commits each statement by itself, and no transaction is open\n"
                f"  right:  with connection.transaction(): ... start(...)"
            )
            raise DefinitionError(msg)
        if status in (TransactionStatus.INERROR, TransactionStatus.UNKNOWN):
            what = "is closed" if status is TransactionStatus.UNKNOWN else "has failed, and can't commit"
            msg = f"the transaction of connection={describe(connection)} {what}\n  way out: begin anew before the start"
            raise DefinitionError(msg)
        return cast("Connection", connection)

    def _check_place(self, connection: Connection, found: Sequence[Any]) -> None:
        if tuple(found) not in self.known:
            self.known.add(tuple(self.place()))
        if tuple(found) in self.known:
            return
        info = connection.info
        there = f"{info.host or 'localhost'}:{info.port}/{info.dbname}"
        what = "" if found[2] else ", which holds no schema 'qwit'"
        msg = (
            f"connection= is to {there}{what}, and the store is at {self.address.where}: a transaction can't span two "
            f"databases\n"
            f"  way out: keep the store in the application's database (`qwit migrate --store …`), or start without "
            f"connection="
        )
        raise DefinitionError(msg)


# -- a connection for a step -----------------------------------------------------------------------------------


class StepConnection(psycopg.Connection[tuple[Any, ...]]):
    """What `current().connection` is: all that psycopg has, but for ending the transaction."""

    def commit(self) -> NoReturn:
        raise refused("commit()")

    def rollback(self) -> NoReturn:
        raise refused("rollback()")

    def close(self) -> NoReturn:
        raise refused("close()")

    def __enter__(self) -> NoReturn:
        raise refused("`with`, which commits at its end,")


class PgTransaction(StepTransaction[StepConnection]):
    """The transaction of one attempt, on a connection that is used again if the step left it as it was.

    Args:
        database: The store's.
        idle: Connections that wait to be used; shared.
    """

    def __init__(self, database: SharedDatabase, idle: list[StepConnection]) -> None:
        super().__init__()
        self._database = database
        self._idle = idle
        self._number = 0

    def _begin(self) -> StepConnection:
        connection = self._free() or self._database.address.connect_for_step(StepConnection)
        try:
            self._number = _number(connection)
        except psycopg.Error as error:
            psycopg.Connection.close(connection)
            raise explain(error, self._database.address.where) from error
        except BaseException:
            psycopg.Connection.close(connection)
            raise
        return connection

    def _free(self) -> StepConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not is_stale(connection):
                psycopg.Connection.rollback(connection)
                return connection
            psycopg.Connection.close(connection)
        return None

    def _commit(self, connection: StepConnection, write: Commit | ResolveTask) -> Answer:
        database = self._database
        try:
            self._check_own(connection)
            statements = _Statements(connection)
            session = PgSession(database.tables, statements, database.cache)
            session.begin(statements, [write], database.now(), opens=False)
            answer = perform(session, write)
            if not isinstance(answer, Fenced):
                statements.many(session.changes())
                psycopg.Connection.commit(connection)
                session.committed()
        except psycopg.Error as error:
            if is_lost(error):
                raise explain(error, database.address.where) from error
            raise
        return answer

    def _check_own(self, connection: StepConnection) -> None:
        status = connection.info.transaction_status
        if status is TransactionStatus.INERROR:
            msg = (
                "a statement of a transactional step failed, and the step went on: Postgres refuses to commit\n"
                "  way out: let the error out of the step; or put what may fail into "
                "`with current().connection.transaction():`, a savepoint"
            )
            raise MisuseError(msg)
        if status is not TransactionStatus.INTRANS or _number(connection) != self._number:
            raise refused("COMMIT or ROLLBACK")

    def _abandon(self, connection: StepConnection) -> None:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_SECONDS)
            psycopg.Connection.rollback(connection)

    def _end(self, connection: StepConnection) -> None:
        with suppress(psycopg.Error):
            psycopg.Connection.rollback(connection)
        idle = connection.info.transaction_status is TransactionStatus.IDLE
        if idle and _is_as_made(connection) and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            psycopg.Connection.close(connection)


def _number(connection: StepConnection) -> int:
    """The number of the transaction, which it has to itself for ever. Opens one where there is none."""
    number: int = _Statements(connection).rows("SELECT txid_current()")[0][0]
    return number


def _is_as_made(connection: StepConnection) -> bool:
    """Whether the step changed nothing that the driver keeps with a connection."""
    return (
        connection.row_factory is tuple_row
        and connection.cursor_factory is psycopg.Cursor
        and not connection.autocommit
        and not connection.read_only
    )
