"""The connections of one process: for writes, for reads, and for the steps of users."""

from __future__ import annotations

import threading
from math import inf

from psycopg_pool import ConnectionPool

from qwit_durable.clock import monotonic
from qwit_durable.stores.postgres.connecting import Connection, PgStatements
from qwit_durable.stores.postgres.hot import Prepared
from qwit_durable.stores.postgres.shared import StepConnection

__all__ = ["InProcess", "Link", "Writer"]

_MOMENT_SECONDS = 0.01


#: The server is to look for rows by their keys, and to plan a statement once. It makes one plan for all batches when it
#: has seen a statement a few times, perhaps over tables that are small yet, which it would go on to read from end to
#: end; or it plans anew for each batch, because a small one looks cheaper, which costs more than the batch.
_BY_KEY = """
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false), set_config('enable_bitmapscan', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false)
WHERE pg_backend_pid() = %s
"""


class Link:
    """One connection, and the two ways in which it is used: by the driver's cursors, and below them.

    Where it is the server's own, not a pooler's, it keeps how the server is to plan: a pooler would hand that on.
    """

    def __init__(self, connection: Connection, *, may_wait_awake: bool = True) -> None:
        self.connection = connection
        self.statements = PgStatements(connection)
        prepares = connection.prepare_threshold is not None
        # A pooler tells a number of its own.
        pid = connection.info.backend_pid
        is_own = prepares and connection.execute(_BY_KEY, (pid,), prepare=False).rowcount > 0
        self.prepared = Prepared(
            connection, prepares=prepares, is_by_key=is_own, may_wait_awake=may_wait_awake
        )


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
