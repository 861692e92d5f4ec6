"""The store in one SQLite file: for one machine, any number of processes.

A write-ahead log, synced at each commit. Every process writes through one connection, one transaction at a time, which
is begun `IMMEDIATE`, so that a transaction that has read can also write; readers have connections of their own and wait
for nobody. The file makes and renews its schema itself. A worker whose process is gone is dead at once, whatever its
lease says. Not for network file systems: their locks do not hold what SQLite asks of them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from qwit_durable.clock import Clock, SystemClock, monotonic
from qwit_durable.errors import StoreError, StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.encoding import Encoding, PayloadCodec
from qwit_durable.stores.migrations import migrations, pending
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.dialect import SQLITE
from qwit_durable.stores.sql.reader import SqlReader
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.sqlite.batch import Batch
from qwit_durable.stores.sqlite.process import InProcess, Processes
from qwit_durable.stores.sqlite.session import is_gone
from qwit_durable.stores.sqlite.shared import SharedFile, SqliteTransaction, StepConnection
from qwit_durable.stores.sqlite.waiting import wait_oneself, when_free
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Start, Write

__all__ = ["SqliteStore"]

_BUSY_SECONDS = 10.0
_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS migration "
    "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
)


class SqliteStore(SqlReader):
    """`stores.protocol.Store` in a file.

    Args:
        url: `sqlite:///relative.db` or `sqlite:////absolute.db`.
        clock: Tells the time; the machine's by default.
        payload_codec: Compresses or encrypts payloads.
        busy_seconds: How long to wait for another process's transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        payload_codec: PayloadCodec | None = None,
        busy_seconds: float = _BUSY_SECONDS,
    ) -> None:
        self.url = url
        self._path = Path(url.removeprefix("sqlite:///")).absolute()  # whatever folder the process goes to
        self._clock = clock or SystemClock()
        self._busy_seconds = busy_seconds
        self._tables = Tables(SQLITE, Encoding(payload_codec))
        self._cache = RunCache()
        self._shared = SharedFile(
            url=url, path=self._path, tables=self._tables, cache=self._cache, clock=self._clock
        )
        self._processes = Processes(url, busy_seconds)

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        with self._writing():
            pass

    def close(self) -> None:
        self._processes.close()

    def migrate(self) -> Sequence[str]:
        with self._here.lock, closing(self._connect()) as connection, self._explained():
            return self._bring_up_to_date(connection)

    def schema_version(self) -> tuple[int, int]:
        wanted = len(migrations("sqlite"))
        if not self._path.exists():
            return 0, wanted
        with self._here.lock, closing(self._connect()) as connection, self._explained():
            return max(self._applied(connection), default=0), wanted

    @property
    def _here(self) -> InProcess:
        return self._processes.here

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """The one connection that writes, for this thread alone."""
        here = self._here
        with here.lock, self._explained():
            if here.writer is None:
                connection = self._connect()
                try:
                    self._bring_up_to_date(connection)
                except BaseException:
                    connection.close()
                    raise
                here.writer = connection
                wait_oneself(connection)
            yield here.writer

    def _connect(self, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
        with self._explained():
            connection = sqlite3.connect(
                self._path,
                timeout=self._busy_seconds,
                # A step's would begin anew by itself if it could: that is refused, and nothing commits on its own.
                isolation_level=None if kind is sqlite3.Connection else "DEFERRED",
                check_same_thread=False,
                factory=kind,
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        # Without effect but on macOS, where a sync is none otherwise.
        connection.execute("PRAGMA fullfsync = ON")
        until = monotonic() + self._busy_seconds
        # Two processes that open a new file at once both want to change its mode, and SQLite lets neither wait.
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                    msg = f"{self.url} has no write-ahead log here: put the file on a local disk"
                    raise StoreUnavailable(msg)
            except sqlite3.OperationalError:
                if monotonic() > until:
                    raise
                threading.Event().wait(0.01)

    def _applied(self, connection: sqlite3.Connection) -> dict[int, str]:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchall():
            return {}
        return dict(connection.execute("SELECT number, checksum FROM migration").fetchall())

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> list[str]:
        if not pending("sqlite", self._applied(connection), self.url):
            return []
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_VERSIONS)
            steps = pending("sqlite", self._applied(connection), self.url)
            for step in steps:
                for statement in step.statements:
                    connection.execute(statement)
                found = (step.number, step.name, step.checksum, SQLITE.time_in(self._clock.now()))
                connection.execute("INSERT INTO migration VALUES (?, ?, ?, ?)", found)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        return [step.name for step in steps]

    # -- writing -----------------------------------------------------------------------------------------------

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        with self._writing() as connection:
            if connection.in_transaction:  # what an interrupted thread left behind
                connection.rollback()
            try:
                batch = Batch(connection, self._tables, self._cache, self._clock, self._busy_seconds)
                answers = batch.carry_out(writes)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            batch.committed()
            return answers

    def transaction(self) -> Transaction:
        return SqliteTransaction(self._shared, self._begin_for_step)

    def start_within(self, connection: object, write: Start) -> Answer:
        if self._here.writer is None:  # else a thread that waits for the caller's transaction may have it
            self.open()
        return self._shared.start(connection, write)

    def _begin_for_step(self) -> StepConnection:
        # After the writes of this process that are under way, and before those that wait.
        with self._writing():
            connection = cast("StepConnection", self._connect(StepConnection))
            try:
                connection.begin(self._busy_seconds)
            except BaseException:
                connection.put_away()
                raise
            self._here.steps.add(connection)
            return connection

    def stamp(self) -> object:
        # Asked on the connection that writes: it counts the commits of all others, not this process's own.
        with self._writing() as connection:
            return when_free(connection, "PRAGMA data_version", self._busy_seconds).fetchone()[0]

    # -- reading -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._clock.now()

    def _clock_in(self) -> tuple[str, Sequence[Any]]:
        return "?", (SQLITE.time_in(self._clock.now()),)

    def _has_dead(self, now: datetime, first_expires_at: datetime | None) -> bool:
        gone = any(is_gone(row) for row in self.workers())
        return gone or super()._has_dead(now, first_expires_at)

    def _rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Columns]:
        here = self._here
        if here.writer is None:
            self.open()
        with here.reader(self._connect) as connection, self._explained():
            return connection.execute(sql, params).fetchall()

    # -- errors ------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except (OverflowError, ValueError) as error:
            msg = f"a row can't be stored in {self.url}: {error}"
            raise StoreError(msg) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        code = name.partition("_")[0]
        folder = self._path.parent
        match code:
            case "BUSY" | "LOCKED":
                why = f"another process has held it locked for {self._busy_seconds:g} s. Find out which one and why"
            case "CANTOPEN" if not folder.is_dir():
                why = f"its folder {str(folder)!r} does not exist. Create it"
            case "CANTOPEN" if self._path.is_dir():
                why = "it is a folder. Name a file"
            case "CANTOPEN" | "PERM" | "READONLY" | "AUTH":
                why = f"this process may not write the file or its folder {str(folder)!r}. Check their permissions"
            case "NOTADB" | "CORRUPT" | "FORMAT":
                why = "the file is not an SQLite database, or it is damaged. Name another file or restore a backup"
            case "FULL":
                why = "the disk is full. Make room"
            case "IOERR":
                why = f"reading or writing failed ({error}). Look at the disk"
            case _:
                return StoreError(f"{self.url}: a row can't be stored: {error}")
        return StoreUnavailable(f"the store {self.url} can't be used: {why}")
