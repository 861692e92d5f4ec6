"""The connections of one process: for writes, for reads, and for the steps of users."""

from __future__ import annotations

import threading
from math import inf

from psycopg_pool import ConnectionPool

from qwit_durable.clock import monotonic
from qwit_durable.stores.pg.connecting import Connection, PgStatements
from qwit_durable.stores.pg.hot import Prepared
from qwit_durable.stores.pg.shared import StepConnection

__all__ = ["InProcess", "Link", "Writer"]

_MOMENT_SECONDS = 0.01


class Link:
    """One connection, and the two ways in which it is used: by the driver's cursors, and below them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.statements = PgStatements(connection)
        self.prepared = Prepared(connection, prepares=connection.prepare_threshold is not None)


class Writer:
    """A connection for batches of writes, one at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.link: Link | None = None
        self._used_at = -inf

    @property
    def is_in_use(self) -> bool:
        """Whether it has worked a moment ago."""
        return monotonic() - self._used_at < _MOMENT_SECONDS

    def used(self) -> None:
        """Take down that it works."""
        self._used_at = monotonic()

    def discard(self) -> None:
        if self.link is not None:
            self.link.connection.close()
            self.link = None


class InProcess:
    """The connections of one process. A fork begins anew: a connection must not be used on both sides of it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.writer = Writer()
        self.patient_writer = Writer()
        self.pool: ConnectionPool[Connection] | None = None
        self.for_steps: list[StepConnection] = []
        self.is_checked = False
