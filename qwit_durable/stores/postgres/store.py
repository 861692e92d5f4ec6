"""The store on a Postgres server: any number of machines.

All writes of a process go over one connection, a batch at a time: one round trip to lock and read what the batch will
need, one to write it and commit. Transitions that only append events cost one round trip in all. Writes that may wait
for other processes have a connection of their own, so that no checkpoint waits with them. Reads go over a small pool.
Times are the server's. Lost connections raise `StoreUnavailable` and are replaced; lost races (deadlocks, a row
that came first) are run again. Everything lies in the schema `qwit`, made by `qwit migrate`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from qwit_durable.clock import Clock
from qwit_durable.errors import StoreError, StoreUnavailable
from qwit_durable.stores import redacted
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.encoding import Encoding, PayloadCodec
from qwit_durable.stores.kernel import goes_alone, may_wait, perform
from qwit_durable.stores.migrations import check, migrations
from qwit_durable.stores.postgres.ahead import PgSession
from qwit_durable.stores.postgres.connecting import (
    Address,
    Connection,
    PgStatements,
    adapt,
    explain,
    is_lost,
    is_stale,
    is_worth_repeating,
)
from qwit_durable.stores.postgres.glances import GLANCE, asked, seen
from qwit_durable.stores.postgres.hot import HotWrites
from qwit_durable.stores.postgres.links import InProcess, Link, Writer
from qwit_durable.stores.postgres.migrating import applied, bring_up_to_date
from qwit_durable.stores.postgres.shared import PLACE, PgTransaction, SharedDatabase
from qwit_durable.stores.postgres.tending import tend
from qwit_durable.stores.protocol import Known, PartlyApplied
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.dialect import POSTGRES
from qwit_durable.stores.sql.reader import SqlReader
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Start, Write

__all__ = ["PostgresStore"]

_T = TypeVar("_T")
_READERS = 8
_READ_SECONDS = 10.0
_REPEATS = 5


class _Unwritten(Exception):
    """The connection was lost before anything was written: it may be tried again at once."""

    def __init__(self, error: psycopg.Error) -> None:
        self.error = error
        super().__init__(error)


class PostgresStore(SqlReader):
    """`stores.protocol.Store` on a server.

    Args:
        url: As the driver takes it: `postgresql://user:password@host:5432/database?sslmode=require`. Besides its own
            parameters: `prepare_threshold=none` for a pooler that does not know prepared statements, `wait_awake=no`
            where processor time is dearer than the latency of a run that is alone.
        clock: Tells the time instead of the server; for tests.
        migrate: Whether opening brings the schema up to date.
        payload_codec: Compresses or encrypts payloads.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        migrate: bool = False,
        payload_codec: PayloadCodec | None = None,
    ) -> None:
        self.url = url
        self._address = Address.of(url)
        self._clock = clock
        self._migrates = migrate
        self._tables = Tables(POSTGRES, Encoding(payload_codec))
        self._cache = RunCache()
        self._hot = HotWrites(self._tables, self._cache)
        self._shared = SharedDatabase(
            address=self._address,
            tables=self._tables,
            cache=self._cache,
            place=self._place,
            now=lambda: self._now_given,
        )
        # By pid. What a fork inherits stays here unused: closing it would end the parent's sessions.
        self._processes: dict[int, InProcess] = {}

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        writer = self._here.writer
        with writer.lock:
            self._connected(writer)

    def close(self) -> None:
        here = self._here
        for writer in (here.writer, here.patient_writer):
            with writer.lock:
                writer.discard()
        with here.lock:
            pool, here.pool = here.pool, None
            while here.for_steps:
                psycopg.Connection.close(here.for_steps.pop())
        if pool is not None:
            pool.close()

    def migrate(self) -> Sequence[str]:
        with self._apart() as connection:
            return bring_up_to_date(connection, self.url)

    def schema_version(self) -> tuple[int, int]:
        with self._apart() as connection:
            return max(applied(connection), default=0), len(migrations("postgres"))

    @property
    def _here(self) -> InProcess:
        here = self._processes.get(os.getpid())
        return self._processes.setdefault(os.getpid(), InProcess()) if here is None else here

    @contextmanager
    def _apart(self) -> Generator[Connection]:
        """A connection for one errand."""
        with self._address.connect() as connection:
            try:
                yield connection
            except psycopg.Error as error:
                raise explain(error, self._address.where) from error

    def _connected(self, writer: Writer) -> Link:
        """The connection of a writer, whose lock is held."""
        # One that was used a moment ago is not asked: that costs a system call, and a flush follows a flush.
        if writer.link is not None and not writer.is_in_use and is_stale(writer.link.connection):
            writer.discard()
        if writer.link is None:
            connection = self._address.connect()
            try:
                self._check(connection)
                writer.link = Link(connection, may_wait_awake=self._address.may_wait_awake)
            except psycopg.Error as error:
                connection.close()
                raise explain(error, self._address.where) from error
            except BaseException:
                connection.close()
                raise
        return writer.link

    def _check(self, connection: Connection) -> None:
        here = self._here
        if here.is_checked:
            return
        if self._migrates:
            bring_up_to_date(connection, self.url)
        check("postgres", applied(connection), redacted(self.url))
        here.is_checked = True

    # -- writing -----------------------------------------------------------------------------------------------

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        if not writes:
            return []
        here = self._here
        writer = here.patient_writer if any(map(may_wait, writes)) else here.writer
        with writer.lock:
            if len(writes) == 1 and goes_alone(writes[0]):
                walks, write = self._cache.walks, writes[0]

                def carry_out(call: Callable[[PgStatements], _T]) -> _T:
                    return self._repeated(writer, lambda link: call(link.statements))

                return [tend(carry_out, self._transact, self._tables, walks, write, self._now_given)]
            now = self._now_given
            answers = self._repeated(writer, lambda link: self._hot.carry_out(link.prepared, writes, now))
            # What has won is durable, so the rest is looked at in a transaction of its own.
            rest = [write for write, answer in zip(writes, answers, strict=True) if answer is None]
            if not rest:
                all_won: Sequence[Any] = answers
                return all_won
            try:
                looked_at = iter(self._repeated(writer, lambda link: self._transact(link.statements, rest)))
            except Exception as error:
                if len(rest) == len(writes):
                    raise
                raise PartlyApplied(answers, error) from error
            return [next(looked_at) if answer is None else answer for answer in answers]

    @property
    def _now_given(self) -> datetime | None:
        return None if self._clock is None else self._clock.now()

    def _repeated(self, writer: Writer, carry_out: Callable[[Link], _T]) -> _T:
        """Carry something out, all or nothing; again where it lost a race or had written nothing yet."""
        last: psycopg.Error | None = None
        for _ in range(_REPEATS):
            link = self._connected(writer)
            try:
                done = carry_out(link)
                writer.used()
                return done
            except BaseException as error:
                self._clean_up(writer, link.connection, error)
                match error:
                    case _Unwritten():
                        last = error.error
                    case psycopg.Error() if is_worth_repeating(error):
                        last = error
                    case psycopg.Error():
                        raise explain(error, self._address.where) from error
                    case OverflowError() | ValueError():
                        msg = f"a row can't be stored at {self._address.where}: {error}"
                        raise StoreError(msg) from error
                    case _:
                        raise
        assert last is not None
        raise explain(last, self._address.where) from last

    def _transact(self, statements: PgStatements, writes: Sequence[Write]) -> Sequence[Answer]:
        session = PgSession(self._tables, statements, self._cache)
        try:
            session.begin(statements, writes, self._now_given)
            answers = [perform(session, write) for write in writes]
        except psycopg.Error as error:
            if is_lost(error):
                raise _Unwritten(error) from error
            raise
        statements.many(session.changes(), end="COMMIT")
        session.committed()
        return answers

    def _clean_up(self, writer: Writer, connection: Connection, error: BaseException) -> None:
        """Leave the connection as new, or give it up.

        That is done when the thread was interrupted from outside, and after each of the server's errors: what stood
        behind it in a round trip was not carried out, and the driver would count on it all the same.
        """
        if not isinstance(error, Exception) or isinstance(error, _Unwritten | psycopg.Error):
            writer.discard()
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            writer.discard()

    def transaction(self) -> Transaction:
        return PgTransaction(self._shared, self._here.for_steps)

    def start_within(self, connection: object, write: Start) -> Answer:
        return self._shared.start(connection, write)

    def _place(self) -> Sequence[Any]:
        return self._rows(PLACE)[0]

    def stamp(self) -> object:
        return None

    # -- reading -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        found: datetime = self._rows("SELECT clock_timestamp()")[0][0]
        return found

    def glance(self, wanted: Sequence[Known]) -> Sequence[Acquired]:
        rows = self._rows(GLANCE, asked(wanted, self._now_given)) if wanted else ()
        return seen(self._tables, self._cache, rows)

    def _clock_in(self) -> tuple[str, Sequence[Any]]:
        return ("clock_timestamp()", ()) if self._clock is None else ("%s::timestamptz", (self._clock.now(),))

    def _rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Columns]:
        try:
            return self._read(lambda connection: PgStatements(connection).rows(sql, params))
        except psycopg.Error as error:
            if not is_lost(error):
                raise explain(error, self._address.where) from error
        # The pool's connections may have died while nobody used them; if the server lives, new ones do.
        with self._apart():
            pass
        pool = self._here.pool
        if pool is not None:
            pool.check()
        try:
            return self._read(lambda connection: PgStatements(connection).rows(sql, params))
        except psycopg.Error as error:
            raise explain(error, self._address.where) from error

    def _read(self, ask: Callable[[Connection], _T]) -> _T:
        try:
            with self._pool().connection() as connection:
                return ask(connection)
        except PoolTimeout as error:
            with self._apart():  # which says what is wrong, if it is the server
                pass
            msg = f"no connection to the Postgres server at {self._address.where} came free in {_READ_SECONDS:g} s"
            raise StoreUnavailable(msg) from error

    def _pool(self) -> ConnectionPool[Connection]:
        here = self._here
        if here.pool is None:
            self.open()
            with here.lock:
                if here.pool is None:
                    here.pool = ConnectionPool(
                        self._address.conninfo,
                        kwargs=self._address.options,
                        configure=adapt,
                        min_size=0,
                        max_size=_READERS,
                        timeout=_READ_SECONDS,
                        num_workers=1,
                        name="qwit",
                        open=True,
                    )
        return here.pool

    def _has_attribute(self, name: str, value: str | float | bool) -> tuple[str, list[Any]]:  # noqa: FBT001 - a value
        # The first condition is that of the index.
        return "(run.attributes <> '{}' AND run.attributes @> ?::jsonb)", [json.dumps({name: value})]
