"""What keeps things moving, in one statement each: so an idle process costs the server next to nothing.

What they mean is written in `stores.kernel`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import attrs

from qwit_durable.stores.answers import Accepted, Answer, Refused, Rings
from qwit_durable.stores.postgres.connecting import PgStatements
from qwit_durable.stores.postgres.firing import fire_hot, ring_hot
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.sql.walks import Walks
from qwit_durable.stores.upkeep_writes import Beat, FireTimers, Lead, RingDue
from qwit_durable.stores.writes import Write

__all__ = ["CarryOut", "tend"]

_T = TypeVar("_T")
_NOW = "coalesce(%s::timestamptz, clock_timestamp())"


class CarryOut(Protocol):
    """Carries something out on a connection; again where it lost a race."""

    def __call__(self, what: Callable[[PgStatements], _T], /) -> _T: ...


def tend(
    carry_out: CarryOut,
    transact: Callable[[PgStatements, Sequence[Write]], Sequence[Answer]],
    tables: Tables,
    walks: Walks,
    write: Write,
    now: datetime | None,
) -> Answer:
    """Carry out a write that goes alone: in a statement of its own, and what that leaves by `transact`."""
    match write:
        case Beat(asks=Lead() as asks):
            return carry_out(lambda statements: _beat(statements, tables, write, asks, now))
        case RingDue():
            return carry_out(lambda statements: ring_hot(statements, walks, write, now))
        case FireTimers(run_id=None, limit=limit):
            encoding = tables.encoding
            count, rings = carry_out(lambda statements: fire_hot(statements, encoding, walks, limit, now))
            left = attrs.evolve(write, limit=limit - count)
            rest = carry_out(lambda statements: transact(statements, [left]))[0]
            assert isinstance(rest, Rings)
            return attrs.evolve(rest, rings=(*rings, *rest.rings))
        case _:
            return carry_out(lambda statements: transact(statements, [write]))[0]


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


def _beat(
    statements: PgStatements, tables: Tables, write: Beat, asks: Lead, now: datetime | None
) -> Accepted | Refused:
    worker = write.worker
    row = dict(zip(tables.worker.columns, tables.worker.row_in(worker), strict=True))
    names = ("id", "host", "pid", "process_started", "started_at", "queues")
    params: list[Any] = [now, *(row[name] for name in names), write.lease, asks.duty, asks.worker, asks.lease]
    return Accepted() if statements.rows(_BEAT, params) else Refused(reason="held")
