"""Attempts of queued steps begin: counted before any of the user's code runs.

For tasks that are due and that nobody is or was in the middle of. Only the task's row is locked. That is enough: what
ends, settles or restarts a run looks at its tasks under their locks, and a run that is paused at the same moment was
paused just afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Answer, Claimed
from qwit_durable.stores.pg.hot import binary
from qwit_durable.stores.pg.hot.append import NOW
from qwit_durable.stores.pg.hot.prepared import Prepared, Question
from qwit_durable.stores.rows import TURN, RunRow, TaskRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Runs
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.writes import Claim, Write

__all__ = ["ClaimFree"]

#: What is wanted is put together first. Joined with the live rows in one go, the tasks would be looked for by their run
#: alone wherever the server takes a run to have few: all tasks of a fan-out, for each of its claims.
_CLAIM = f"""
WITH wanted AS MATERIALIZED (
    SELECT given.*, generation
    FROM unnest($2::uuid[], $3::text[], $4::int8[], $5::int8[], $6::bool[])
    AS given (id, place, holder, lease, is_new) JOIN qwit.live ON live.run_id = id
    WHERE live.status NOT IN ('paused', 'stuck')
), won AS (
    UPDATE qwit.task SET
        attempt = task.attempt + 1, owner = holder, began_at = coalesce(task.began_at, {NOW}), claimed_at = {NOW},
        ring_at = {NOW} + lease * interval '1 microsecond', note = null
    FROM wanted
    WHERE task.run_id = id AND task.position = place
    AND task.owner IS NULL AND task.ready_at <= {NOW} AND NOT task.cancelled AND task.ended IS NULL
    AND task.opened = 0 AND task.progress IS NULL
    RETURNING
        task.run_id, task.position, task.queue, task.name, task.ready_at, task.priority, task.attempt, task.owner,
        task.began_at, task.claimed_at, task.ring_at, task.rings, task.spec, generation, is_new
)
SELECT
    won.run_id, position, won.queue, name, ready_at, priority, attempt, owner, began_at, claimed_at, ring_at, rings,
    spec, generation, {Runs.listed("run")}
FROM won LEFT JOIN qwit.run ON is_new AND run.id = won.run_id
""".encode()
_OF_TASK = 14
_MICROSECOND = timedelta(microseconds=1)


class ClaimFree:
    """`HotWrites`' kind for them."""

    locks = False

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._tables = tables
        self._cache = cache

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """The run, if a write claims an attempt."""
        return (write.run_id,) if type(write) is Claim and write.position != TURN else None

    def questions(self, writes: Sequence[Claim], now: bytes | None) -> Sequence[Question]:
        """The statement that grants what is free."""
        params = (
            now,
            binary.uuids([write.run_id for write in writes]),
            binary.texts([write.position for write in writes]),
            binary.numbers([write.worker for write in writes]),
            binary.numbers([write.lease // _MICROSECOND for write in writes]),
            binary.flags([self._cache.get(write.run_id) is None for write in writes]),
        )
        return ((_CLAIM, params),)

    def answers(
        self, writes: Sequence[Claim], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        claimed = {(row[0], row[1]): self._claimed(row) for row in link.rows(results[0])}
        return [claimed.get((write.run_id, write.position)) for write in writes]

    def _claimed(self, columns: Columns) -> Claimed:
        run_id, position, queue, name, ready_at, priority, attempt, owner, began_at, *rest = columns[
            :_OF_TASK
        ]
        claimed_at, ring_at, rings, spec, generation = rest
        now: datetime = claimed_at
        task = TaskRow(
            run_id=run_id,
            position=position,
            queue=queue,
            name=name,
            ready_at=ready_at,
            ring_at=ring_at,
            priority=priority,
            attempt=attempt,
            owner=owner,
            began_at=began_at,
            claimed_at=now,
            rings=rings,
            spec=None if spec is None else self._tables.encoding.read_spec(spec),
        )
        return Claimed(
            task=task, run=self._run_of(run_id, columns[_OF_TASK:]), generation=generation, now=now
        )

    def _run_of(self, run_id: UUID, columns: Columns) -> RunRow:
        run = self._cache.get(run_id)
        if run is None:
            run = self._tables.run.row_out(columns)
            self._cache.add(run)
        return run
