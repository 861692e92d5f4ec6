"""Connections to a Postgres server: how they are made, how values cross them, and what their errors mean to a person.

No state is kept in a session (no settings, no session locks, no LISTEN), so a transaction-mode pooler may stand in
between; behind one that does not know prepared statements, say `?prepare_threshold=none` in the URL.
"""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper

from qwit_durable.errors import DefinitionError, SchemaMismatch, StoreError, StoreUnavailable
from qwit_durable.stores.sql.dialect import Statements
from qwit_durable.stores.sql.mapped import Change
from qwit_durable.stores.sql.table import Columns

__all__ = [
    "Address",
    "Connection",
    "PgStatements",
    "adapt",
    "adapt_map",
    "explain",
    "is_lost",
    "is_stale",
    "is_worth_repeating",
]

Connection = psycopg.Connection[tuple[Any, ...]]
_C = TypeVar("_C", bound=Connection)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
#: A server that has gone without a word is noticed within half a minute. The URL may say otherwise.
_DEFAULTS = {
    "connect_timeout": "10",
    "fallback_application_name": "qwit-durable",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
_UNREADABLE = (
    "the store's URL can't be read: it should look like postgresql://user:password@host:5432/database"
)
_THRESHOLD, _AWAKE = "prepare_threshold", "wait_awake"
_DEFAULT_THRESHOLD = 5


class _UtcLoader(Loader):
    """Times in UTC, whatever time zone the server has: setting one would be a session's state."""

    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))


class _JsonTextLoader(Loader):
    """JSON as text, as it lies in SQLite too."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return bytes(data)[1:].decode()


@attrs.frozen(kw_only=True)
class Address:
    """Where a server is, and what the URL says besides.

    Attributes:
        may_wait_awake: Whether a write that goes alone may be waited for awake (`stores.postgres.hot.awake`).
    """

    conninfo: str
    prepare_threshold: int | None
    may_wait_awake: bool
    where: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            DefinitionError: It is none that the driver understands.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise DefinitionError(_UNREADABLE) from None
        query = parse_qsl(parts.query, keep_blank_values=True)
        ours = {name: value.lower() for name, value in query if name in {_THRESHOLD, _AWAKE}}
        threshold, awake = ours.get(_THRESHOLD, str(_DEFAULT_THRESHOLD)), ours.get(_AWAKE, "auto")
        rest = urlencode([pair for pair in query if pair[0] not in ours])
        conninfo = urlunsplit(parts._replace(query=rest))
        if threshold != "none" and not threshold.isdigit():
            msg = f"prepare_threshold in the store's URL is a number or 'none', got {threshold!r}"
            raise DefinitionError(msg)
        if awake not in {"auto", "no"}:
            msg = f"wait_awake in the store's URL is 'auto' or 'no', got {awake!r}"
            raise DefinitionError(msg)
        try:
            found = conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:
            # The driver's own text may repeat the password.
            raise DefinitionError(_UNREADABLE) from None
        where = f"{found.get('host') or 'localhost'}:{found.get('port') or 5432}/{found.get('dbname') or ''}"
        return cls(
            conninfo=conninfo,
            prepare_threshold=None if threshold == "none" else int(threshold),
            may_wait_awake=awake == "auto",
            where=where,
        )

    @property
    def options(self) -> dict[str, Any]:
        """What to connect with besides the URL."""
        given = conninfo_to_dict(self.conninfo)
        defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
        return {**defaults, "autocommit": True, "prepare_threshold": self.prepare_threshold}

    def connect(self) -> Connection:
        """Make a connection.

        Raises:
            StoreUnavailable: The server can't be reached.
        """
        connection = self._connect(psycopg.Connection)
        adapt(connection)
        return connection

    def connect_for_step(self, kind: type[_C]) -> _C:
        """Make a connection for users: as the driver makes them, with transactions that see what is committed.

        Raises:
            StoreUnavailable: The server can't be reached.
        """
        connection = self._connect(kind, autocommit=False)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _connect(self, kind: type[_C], **options: Any) -> _C:
        try:
            return kind.connect(self.conninfo, **{**self.options, **options})
        except psycopg.Error as error:
            raise explain(error, self.where) from error


def adapt(connection: Connection) -> None:
    """Fix how values cross a connection."""
    adapt_map(connection.adapters)


def adapt_map(adapters: AdaptersMap) -> None:
    """Fix how values cross. Integers have one type, so that each statement is prepared once."""
    adapters.register_dumper(int, Int8BinaryDumper)
    adapters.register_loader("timestamptz", _UtcLoader)
    adapters.register_loader("jsonb", _JsonTextLoader)


@contextmanager
def _one_trip(connection: Connection) -> Generator[None]:
    """Send what is asked for within without waiting, then wait for all of it. Raises the first error alone."""
    first: psycopg.Error | None = None
    try:
        with connection.pipeline():
            try:
                yield
            except psycopg.Error as error:
                # Kept from the driver, which would log that what came after it failed too.
                first = error
    except psycopg.Error as error:
        raise first or error from None
    if first is not None:
        raise first


class PgStatements(Statements):
    """Carries out SQL on one connection; several statements at once cost one round trip."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = self.new_cursor(binary=True)

    def new_cursor(self, *, binary: bool = False) -> psycopg.Cursor[tuple[Any, ...]]:
        """A cursor that answers columns as the store's tables have them."""
        return self._connection.cursor(binary=binary)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Columns]:
        return self._cursor.execute(sql.encode(), params).fetchall()

    def once(self, sql: str, params: Sequence[Any]) -> Sequence[Columns]:
        """Carry out one statement, planned anew for these parameters, and answer its rows."""
        return self._cursor.execute(sql.encode(), params, prepare=False).fetchall()

    def ask(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[Sequence[Columns]]:
        """Carry out several statements in one round trip and answer the rows of each. Each sees what came before it."""
        cursors: list[psycopg.Cursor[tuple[Any, ...]]] = []
        with _one_trip(self._connection):
            for sql, params in questions:
                cursors.append(self.new_cursor(binary=True).execute(sql.encode(), params or None))
        # `rownumber` tells whether there are rows; `description` would too, and costs more than the query.
        return [cursor.fetchall() if cursor.rownumber is not None else () for cursor in cursors]

    def many(self, changes: Sequence[Change], *, end: str | None = None) -> None:
        """Carry out statements in one round trip, and then `end`."""
        with _one_trip(self._connection):
            for sql, rows in changes:
                cursor = self.new_cursor()
                if len(rows) == 1:
                    cursor.execute(sql.encode(), rows[0])
                else:
                    cursor.executemany(sql.encode(), rows)
            if end is not None:
                self.new_cursor().execute(end.encode())


# -- what errors mean ------------------------------------------------------------------------------------------

#: The last two say that the server has ended a transaction that stood still, and that a pooler has put another session
#: in the place of the one that knew a prepared statement: nothing was written.
_REPEAT = frozenset({"40001", "40P01", "23505", "25P03", "26000"})
_GONE_CLASSES = ("08", "57P")


def is_stale(connection: Connection) -> bool:
    """Whether an idle connection has died: the server speaks unasked only to say that it closes."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        connection.execute(b"SELECT 1")
    except psycopg.Error:
        return True
    return False


def is_worth_repeating(error: BaseException) -> bool:
    """Whether a transaction lost a race that it would not lose twice: a deadlock, a row that came first, a nap."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _REPEAT


def is_lost(error: BaseException) -> bool:
    """Whether the connection has gone."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_GONE_CLASSES)


def explain(error: psycopg.Error, where: str) -> StoreError:
    """The same in our words: who, what happened, what to do. Never with a password."""
    text = str(error).strip().partition("\n")[0].removeprefix("connection failed: ")
    state = error.sqlstate or ""
    if is_lost(error):
        hint = "Check that it runs, that host and port are right, and that this user may log in"
        return StoreUnavailable(f"no connection to the Postgres server at {where}: {text}. {hint}")
    match state[:2]:
        case "25" if state == "25006":
            return StoreUnavailable(
                f"the Postgres server at {where} is read-only: a standby? Name the primary"
            )
        case "53":
            return StoreUnavailable(f"the Postgres server at {where} has run out of something: {text}")
        case "55" | "57" | "40":
            return StoreUnavailable(
                f"the Postgres server at {where} gave up a statement: {text}. It may be repeated"
            )
        case "28" | "3D":
            return StoreUnavailable(
                f"the Postgres server at {where} refuses: {text}. Check user, password and database"
            )
        case "3F" | "42" if state in ("3F000", "42P01", "42703"):
            return SchemaMismatch(f"{where}: {text}. Run `qwit migrate`, and keep the schema 'qwit' for it")
        case "42" if state == "42501":
            return StoreError(f"{where}: {text}. Grant this user the schema 'qwit', or migrate as its owner")
        case _:
            return StoreError(f"{where}: a row can't be stored: {text}")
