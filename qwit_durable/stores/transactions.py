"""Transactions that users and the engine share: of a transactional step, and of a caller who starts a run in his own.

`Transaction` is what a store gives for one attempt of a transactional step: a connection to its database, on which the
step's rows and its checkpoint are committed together. `driver_connection` finds the driver's connection in what callers
have in hand. Neighbours: `stores.postgres.shared` and `stores.sqlite.shared` know the drivers; this module knows none.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

from qwit_durable.errors import DefinitionError, MisuseError, describe
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.writes import Commit, ResolveTask

__all__ = [
    "StepTransaction",
    "Transaction",
    "driver_connection",
    "no_database",
    "refuse_deadlock",
    "refused",
]

C = TypeVar("C")


class Transaction(Protocol):
    """The transaction of one attempt. It begins when its connection is first asked for."""

    @property
    def is_begun(self) -> bool:
        """Whether the connection was asked for."""
        ...

    def connection(self) -> Any:
        """The driver's connection, inside the transaction.

        Raises:
            MisuseError: The attempt is over, or the store has no database.
            StoreUnavailable: The database can't be reached.
        """
        ...

    def commit(self, write: Commit | ResolveTask) -> Answer:
        """Record the checkpoint and commit it with what the step wrote; what is refused leaves nothing behind.

        Raises:
            MisuseError: The step has ended the transaction itself.
            StoreUnavailable: The connection was lost; the two may or may not have happened, together.
            Exception: The driver's error where the database refuses what the step wrote. Nothing is written.
        """
        ...

    def abandon(self) -> None:
        """Roll back from another thread: the attempt's own does not come back. It may not write any more."""
        ...

    def close(self) -> None:
        """Roll back unless it was committed, and let go of the connection. Repeating it changes nothing."""
        ...


class StepTransaction(ABC, Generic[C]):
    """What is common to the databases: begun once, by the attempt's thread; ended once, by it or by the watchdog."""

    #: Whether nothing else can be written to the store while it is open.
    is_exclusive = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: C | None = None
        self._is_over = False

    @property
    def is_begun(self) -> bool:
        return self._connection is not None

    def connection(self) -> C:
        with self._lock:
            if self._is_over:
                msg = "the connection of a transactional step was asked for after its attempt had ended"
                raise MisuseError(msg)
            if self._connection is None:
                self._connection = self._begin()
                if self.is_exclusive:
                    _exclusive.set(self)
            return self._connection

    def commit(self, write: Commit | ResolveTask) -> Answer:
        assert self._connection is not None
        answer = self._commit(self._connection, write)
        self.close()
        return answer

    def abandon(self) -> None:
        with self._lock:
            self._is_over = True
            if self._connection is not None:
                self._abandon(self._connection)

    def close(self) -> None:
        with self._lock:
            self._is_over = True
            connection, self._connection = self._connection, None
            if connection is not None:
                self._end(connection)

    @abstractmethod
    def _begin(self) -> C:
        """A connection with an open transaction."""

    @abstractmethod
    def _commit(self, connection: C, write: Commit | ResolveTask) -> Answer:
        """Carry out the write in the transaction, and commit it."""

    @abstractmethod
    def _abandon(self, connection: C) -> None:
        """Roll back beside a thread that may use the connection at this moment."""

    @abstractmethod
    def _end(self, connection: C) -> None:
        """Roll back what is left and put the connection away; never raises."""


_exclusive: ContextVar[StepTransaction[Any] | None] = ContextVar("qwit_exclusive", default=None)


def refuse_deadlock() -> None:
    """Refuse a write of its own to a step that locks the whole store: it would wait for itself.

    Raises:
        MisuseError: The way out is in the message.
    """
    transaction = _exclusive.get()
    if transaction is not None and transaction.is_begun:
        msg = (
            "this transactional step holds the write lock of its SQLite file, so nothing else can be written to the "
            "store until it returns\n"
            "  way out: workflow.options(connection=current().connection).start(...) starts a run in its transaction;\n"
            "           or do it before the step first asks for current().connection, or in another step"
        )
        raise MisuseError(msg)


def refused(what: str) -> MisuseError:
    """The error for a step that would end its transaction by itself."""
    return MisuseError(
        f"a transactional step called {what} on current().connection\n"
        f"  its writes are committed with its checkpoint, when it returns: so they happen exactly once\n"
        f"  way out: leave it out; raise an exception to roll back; for a part of the step, use a savepoint"
    )


def no_database(url: str, what: str) -> MisuseError:
    """The error of a store without a database."""
    return MisuseError(
        f"{what}: the store {url} has no database to share a transaction with\n"
        f"  way out: a store in SQLite (sqlite:///orders.db) or Postgres; tests can have one in a temporary folder"
    )


def driver_connection(given: object) -> Any:
    """The driver's connection inside what a caller has: itself, or one of SQLAlchemy's or Django's.

    Raises:
        DefinitionError: Its layer has no transaction open, so nobody would commit.
    """
    module = type(given).__module__.partition(".")[0]
    found: Any = given
    if module == "sqlalchemy":
        # A Session gives its Connection, and begins its transaction with that; scoped ones pass it on.
        found = found.connection() if hasattr(found, "get_bind") else found
        if not found.in_transaction():
            msg = (
                f"connection={describe(given)} has no transaction open\n"
                f"  way out: with engine.begin() as connection: ... start(...)"
            )
            raise DefinitionError(msg)
        return found.connection.driver_connection
    if module == "django":
        found.ensure_connection()
        # Django's wrapper may wrap the driver's connection itself.
        return found.connection
    return given
