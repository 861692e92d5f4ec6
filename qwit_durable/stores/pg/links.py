"""The connections of one process: for writes, for reads, and for the steps of users."""

from __future__ import annotations

import threading

from psycopg_pool import ConnectionPool

from qwit_durable.stores.pg.connecting import Connection, PgStatements
from qwit_durable.stores.pg.hot import Prepared
from qwit_durable.stores.pg.shared import StepConnection

__all__ = ["InProcess", "Link", "Writer"]


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
