"""A batch of writes inside one SQLite transaction: the hottest beside the kernel, all others through it.

The hottest are transitions that only append events. They are two statements for any number of them, one that moves the
heads of those whose holder, epoch and head are as they say, and one that inserts the events. If one of them has not
moved, the whole batch is begun again and left to the kernel, which says why. So the meaning stays where it is written,
and what is here is its common case: a test compares the two.

SQLite takes rows one by one whatever is written, so that statements for many rows at once gain nothing over
`executemany`; and asking what was updated (`RETURNING`) costs a call for each row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import cast

from qwit_durable.clock import Clock
from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.kernel import perform
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.sqlite.session import SqliteSession, SqliteStatements
from qwit_durable.stores.sqlite.waiting import BEGIN, when_free
from qwit_durable.stores.writes import Checkpoint, Write

__all__ = ["Batch", "only_appends"]

# A run that is to be cancelled is left to the kernel: all others are answered alike.
_MOVE = (
    "UPDATE live SET head = head + ?, lost = 0, updated_at = ? "
    "WHERE run_id = ? AND owner = ? AND epoch = ? AND head = ? AND NOT cancel_asked"
)


def only_appends(write: Write) -> bool:
    """Whether a write appends events to a head that it names, and does nothing else."""
    return isinstance(write, Checkpoint)


class Batch:
    """Writes on a connection that nobody else uses, from `BEGIN` to before `COMMIT`.

    Args:
        busy_seconds: How long to wait for another process's transaction.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        tables: Tables,
        cache: RunCache,
        clock: Clock,
        busy_seconds: float,
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._cache = cache
        self._clock = clock
        self._busy_seconds = busy_seconds

    def carry_out(self, writes: Sequence[Write]) -> list[Answer]:
        """Begin a transaction and carry out these writes in it, in order."""
        self._begin()
        answers: list[Answer] = []
        for is_hot, some in groupby(writes, only_appends):
            if not is_hot:
                answers += self._perform(some)
            elif (appended := self._append([cast("Checkpoint", write) for write in some])) is not None:
                answers += appended
            else:
                return self._begin_again(writes)
        if self._session is not None:
            self._session.flush()
        return answers

    def committed(self) -> None:
        """Learn that the transaction is durable."""
        if self._session is not None:
            self._session.committed()

    def _begin(self) -> None:
        when_free(self._connection, BEGIN, self._busy_seconds)
        self._now = self._clock.now()
        self._session: SqliteSession | None = None

    def _begin_again(self, writes: Sequence[Write]) -> list[Answer]:
        self._connection.execute("ROLLBACK")
        self._begin()
        answers = self._perform(writes)
        assert self._session is not None
        self._session.flush()
        return answers

    def _perform(self, writes: Iterable[Write]) -> list[Answer]:
        session = self._session
        if session is None:
            statements = SqliteStatements(self._connection)
            session = self._session = SqliteSession(self._tables, statements, self._cache, self._now)
        return [perform(session, write) for write in writes]

    def _append(self, writes: Sequence[Checkpoint]) -> list[Answer] | None:
        """Carry them out if all of them win; None, with some of them carried out, if not."""
        if self._session is not None:
            self._session.flush()
            self._session.look_again(write.run_id for write in writes)
        at = self._tables.dialect.time_in(self._now)
        write_event = self._tables.encoding.write_event
        heads: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        for write in writes:
            run_id, head = write.run_id.bytes, write.head
            heads.append((len(write.events), at, run_id, write.worker, write.epoch, head))
            for number, event in enumerate(write.events, start=head + 1):
                events.append((run_id, number, at, *write_event(event)))
        if self._connection.executemany(_MOVE, heads).rowcount != len(heads):
            return None
        self._connection.executemany(self._tables.insert_event, events)
        now = self._now
        return [Committed(head=write.head + len(write.events), now=now) for write in writes]
