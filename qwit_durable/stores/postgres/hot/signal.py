"""Signals: each is appended to its run's history, and the run is owed a turn if it is free and under way.

Whoever tells it rings, unless that turn is owed already, and was rung for a moment ago.

One of a run in a batch. A signal with an id of its own is taken down under the run's lock; one that was there before is
left to the kernel, which says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.core import SignalReceived
from qwit_durable.stores.answers import Accepted, Answer
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import ADDED, NOW, event_arrays
from qwit_durable.stores.postgres.hot.places import is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import EVENT_ROWS, rows, turns_asked
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Deliver, Write

__all__ = ["Signal"]

_GIVEN = f"id uuid, dedupe text, grace int8, {EVENT_ROWS}"
_GRACE = "grace * interval '1 microsecond'"
_SIGNAL = f"""
WITH mine AS (
    SELECT given.* FROM {rows("given", 2, _GIVEN)} JOIN qwit.live ON {is_key("live.run_id", "id")}
    FOR UPDATE OF live
), fresh AS (
    INSERT INTO qwit.signal (run_id, dedupe_id) SELECT id, dedupe FROM mine WHERE dedupe IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING run_id
), won AS (
    UPDATE qwit.live SET head = live.head + 1, awaiting = 0, updated_at = {NOW}
    FROM mine WHERE {is_key("live.run_id", "id")} AND (dedupe IS NULL OR id IN (SELECT run_id FROM fresh))
    RETURNING live.run_id, live.head AS number, updated_at,
        live.owner IS NULL AND live.status IN ('running', 'compensating') AS asks, grace, {EVENT_COLUMNS}
), added AS (
    {ADDED} SELECT run_id, number, updated_at, {EVENT_COLUMNS} FROM won
), asked AS (
    {turns_asked(f"won JOIN qwit.run ON asks AND {is_key('run.id', 'run_id')}", "updated_at", _GRACE)}
    RETURNING task.run_id AS id, queue, task.name AS workflow, ready_at, ring_at
)
SELECT run_id, queue, workflow FROM won LEFT JOIN asked ON id = run_id
AND NOT (ready_at < updated_at AND ring_at > updated_at AND ring_at < updated_at + {_GRACE})
""".encode()
_MICROSECOND = timedelta(microseconds=1)


class Signal:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables) -> None:
        self._encoding = tables.encoding

    def takes(self, write: Write) -> Sequence[UUID] | None:
        """The run, if the write tells it of a signal."""
        return (write.run_id,) if type(write) is Deliver and isinstance(write.event, SignalReceived) else None

    def questions(self, writes: Sequence[Deliver], now: bytes | None) -> Sequence[Question]:
        """The statement that appends all of them."""
        events = [write.event for write in writes]
        params = (
            now,
            binary.uuids([write.run_id for write in writes]),
            binary.texts(
                [event.dedupe_id if isinstance(event, SignalReceived) else None for event in events]
            ),
            binary.numbers([write.ring_after // _MICROSECOND for write in writes]),
            *event_arrays([self._encoding.write_event(event) for event in events]),
        )
        return ((_SIGNAL, params),)

    def answers(
        self, writes: Sequence[Deliver], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those whose run is open and has not been told before."""
        won = {run_id: _accepted(run_id, queue, name) for run_id, queue, name in link.rows(results[0])}
        return [won.get(write.run_id) for write in writes]


def _accepted(run_id: UUID, queue: str | None, name: str | None) -> Accepted:
    if queue is None or name is None:
        return Accepted()
    return Accepted(rings=(Ring(run_id=run_id, position=TURN, queue=queue, name=name),))
