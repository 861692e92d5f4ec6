"""What turns would find, of many runs in one statement. Nothing is locked and nothing written.

Each run is looked up by itself, so it costs the same however many there are, whatever the statistics say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from qwit_durable.core import Event
from qwit_durable.stores.answers import Acquired
from qwit_durable.stores.protocol import GLANCED_EVENTS, GLANCED_RINGS, Known
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Lives, Runs
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables

__all__ = ["GLANCE", "asked", "seen"]

_OF_EVENT = ", ".join(f"event.{column}" for column in EVENT_COLUMNS.split(", "))
_LIVE, _RUN = len(Lives.columns), len(Runs.columns)

GLANCE = f"""
WITH clock AS MATERIALIZED (SELECT coalesce(%s::timestamptz, clock_timestamp()) AS now)
SELECT now, one.*, {_OF_EVENT}
FROM clock, unnest(%s::uuid[], %s::int8[], %s::int8[]) AS wanted (id, of_generation, after)
CROSS JOIN LATERAL (
    SELECT {Lives.listed("live")}, {Runs.listed("run")}
    FROM qwit.live JOIN qwit.task ON task.run_id = live.run_id JOIN qwit.run ON run.id = live.run_id
    WHERE live.run_id = wanted.id AND task.position = '' AND task.ready_at <= now AND task.rings <= {GLANCED_RINGS}
    AND live.owner IS NULL AND NOT begun AND lost = 0 AND status IN ('running', 'compensating')
    AND lane IS NULL AND parent_id IS NULL
    AND head - CASE WHEN generation = of_generation THEN after ELSE 0 END <= {GLANCED_EVENTS}
    LIMIT 1
) AS one
LEFT JOIN LATERAL (
    SELECT number, {EVENT_COLUMNS} FROM qwit.event
    WHERE event.run_id = wanted.id AND number > CASE WHEN one.generation = of_generation THEN after ELSE 0 END
    ORDER BY number LIMIT {GLANCED_EVENTS}
) AS event ON true
ORDER BY wanted.id, number
"""


def asked(wanted: Sequence[Known], now: datetime | None) -> list[Any]:
    """The parameters of `GLANCE`."""
    ids, generations, heads = zip(*wanted, strict=True)
    return [now, [*ids], [*generations], [*heads]]


def seen(tables: Tables, cache: RunCache, rows: Sequence[Columns]) -> Sequence[Acquired]:
    """What it has answered."""
    found: dict[UUID, tuple[Columns, list[Event]]] = {}
    for row in rows:
        _, events = found.setdefault(row[1], (row, []))
        event = row[1 + _LIVE + _RUN :]
        if event[0] is not None:
            events.append(tables.encoding.read_event(event))
    return [_acquired(tables, cache, row, events) for row, events in found.values()]


def _acquired(tables: Tables, cache: RunCache, row: Columns, events: Sequence[Event]) -> Acquired:
    live = tables.live.row_out(row[1 : 1 + _LIVE])
    run = cache.get(live.run_id)
    if run is None:
        run = tables.run.row_out(row[1 + _LIVE : 1 + _LIVE + _RUN])
        cache.add(run)
    return Acquired(run=run, live=live, events=tuple(events), now=row[0])
