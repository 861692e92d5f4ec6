"""What keeps things moving, in one statement each: so an idle process costs the server next to nothing.

What they mean is written in `stores.kernel`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qwit_durable.stores.answers import Accepted, Answer, Refused
from qwit_durable.stores.pg.connecting import PgStatements
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.upkeep_writes import Beat
from qwit_durable.stores.writes import Write

__all__ = ["tend"]

_NOW = "coalesce(%s::timestamptz, clock_timestamp())"


def tend(statements: PgStatements, tables: Tables, write: Write, now: datetime | None) -> Answer | None:
    """Carry out a write in a statement of its own; None for one that has none."""
    match write:
        case Beat(asks=asks) if asks is not None:
            return _beat(statements, tables, write, now)
        case _:
            return None


_BEAT = f"""
WITH clock AS MATERIALIZED (SELECT {_NOW} AS now), beaten AS (
    INSERT INTO qwit.worker (id, host, pid, process_started, started_at, queues, beat_at, expires_at)
    SELECT %s, %s, %s, %s, %s, %s, now, now + %s FROM clock
    ON CONFLICT (id) DO UPDATE SET
        host = excluded.host, pid = excluded.pid, process_started = excluded.process_started,
        started_at = excluded.started_at, queues = excluded.queues,
        beat_at = excluded.beat_at, expires_at = excluded.expires_at
)
INSERT INTO qwit.duty AS duty (duty, worker, until) SELECT %s, %s, now + %s FROM clock
ON CONFLICT (duty) DO UPDATE SET worker = excluded.worker, until = excluded.until
WHERE duty.worker = excluded.worker OR duty.until <= (SELECT now FROM clock)
RETURNING worker
"""


def _beat(statements: PgStatements, tables: Tables, write: Beat, now: datetime | None) -> Accepted | Refused:
    worker, asks = write.worker, write.asks
    assert asks is not None
    row = dict(zip(tables.worker.columns, tables.worker.row_in(worker), strict=True))
    names = ("id", "host", "pid", "process_started", "started_at", "queues")
    params: list[Any] = [now, *(row[name] for name in names), write.lease, asks.duty, asks.worker, asks.lease]
    return Accepted() if statements.rows(_BEAT, params) else Refused(reason="held")
