"""Attempts of queued steps begin: counted before any of the user's code runs.

For tasks that are due and that nobody is or was in the middle of. Only the task's row is locked. That is enough: what
ends, settles or restarts a run looks at its tasks under their locks, and a run that is paused at the same moment was
paused just afterwards. How the run stands is what it was when the statement began: whoever builds on it is told when
that is no longer so.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.core import Status
from qwit_durable.stores.answers import Answer, Claimed, Standing
from qwit_durable.stores.kernel.queued import MOST_UNKNOWN
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import NOW
from qwit_durable.stores.postgres.hot.places import IS_TASK, is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import rows
from qwit_durable.stores.rows import TURN, RunRow, TaskRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Runs
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Claim, Write

__all__ = ["GRANTED", "NUMBER", "WIDTH", "ClaimFree", "claimed"]

_GIVEN = (
    "id uuid, place text, holder int8, lease int8, is_new bool, wants bool, after int8, of_generation int8"
)
_OF_EVENT = ", ".join(f"event.{column}" for column in EVENT_COLUMNS.split(", "))


def claimed(first: int) -> str:
    """The statement's part that grants what is free, with parameters from there on.

    What is wanted is put together first. Joined with the live rows in one go, the tasks would be looked for by their
    run alone wherever the server takes a run to have few: all tasks of a fan-out, for each of its claims.
    """
    return f"""wanted AS MATERIALIZED (
    SELECT given.*, generation, status, head, CASE WHEN generation = of_generation THEN after ELSE 0 END AS known,
        wants AND live.owner IS NULL AND awaiting <= 1 AND status <> 'scheduled'
        AND head - CASE WHEN generation = of_generation THEN after ELSE 0 END <= {MOST_UNKNOWN} AS stands
    FROM {rows("given", first, _GIVEN)} JOIN qwit.live
        ON {is_key("live.run_id", "id")}
    WHERE status NOT IN ('paused', 'stuck')
), claimed AS (
    UPDATE qwit.task SET
        attempt = task.attempt + 1, owner = holder, began_at = coalesce(task.began_at, {NOW}), claimed_at = {NOW},
        ring_at = {NOW} + lease * interval '1 microsecond', note = null
    FROM wanted
    WHERE {IS_TASK}
    AND task.owner IS NULL AND task.ready_at <= {NOW} AND NOT task.cancelled AND task.ended IS NULL
    AND task.opened = 0 AND task.progress IS NULL
    RETURNING
        task.run_id, task.position, task.queue, task.name, task.ready_at, task.priority, task.attempt, task.owner,
        task.began_at, task.claimed_at, task.ring_at, task.rings, task.spec, generation, is_new, status, head, known,
        stands
)"""


#: Where an event comes with a claim, there is a row for each. What is not wanted is not looked for, either.
GRANTED = f"""
SELECT
    claimed.run_id, claimed.position, claimed_at, stands, claimed.head, claimed.status, claimed.queue, claimed.name,
    ready_at, priority, claimed.attempt, owner, began_at, ring_at, rings, spec, generation, number, {_OF_EVENT},
    {Runs.listed("run")}
FROM claimed LEFT JOIN qwit.run
    ON {is_key("run.id", "CASE WHEN is_new THEN claimed.run_id END")}
LEFT JOIN LATERAL (
    SELECT event.* FROM qwit.event
    WHERE event.run_id = claimed.run_id AND number > known AND number <= CASE WHEN stands THEN claimed.head END
    ORDER BY number
) AS event ON true
"""
#: Where the columns of a task end, and those before the run's; and which one is the event's number.
_OF_TASK, _OF_EVENTS = 18, 25
NUMBER = _OF_TASK - 1
WIDTH = _OF_EVENTS + len(Runs.columns)
_CLAIM = f"WITH {claimed(2)} {GRANTED} ORDER BY number".encode()
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
        return ((_CLAIM, (now, *self.params(writes))),)

    def params(self, writes: Sequence[Claim]) -> Sequence[bytes]:
        """What `claimed` takes."""
        turns = [write.turn for write in writes]
        return (
            binary.uuids([write.run_id for write in writes]),
            binary.texts([write.position for write in writes]),
            binary.numbers([write.worker for write in writes]),
            binary.numbers([write.lease // _MICROSECOND for write in writes]),
            binary.flags([self._cache.get(write.run_id) is None for write in writes]),
            binary.flags([turn is not None for turn in turns]),
            binary.numbers([0 if turn is None else turn.after for turn in turns]),
            binary.numbers([0 if turn is None else turn.generation for turn in turns]),
        )

    def answers(
        self, writes: Sequence[Claim], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        return self.answers_in(writes, link.rows(results[0]))

    def answers_in(self, writes: Sequence[Claim], rows: Sequence[Columns]) -> Sequence[Answer | None]:
        """The answers in these rows."""
        of_tasks: dict[tuple[UUID, str], list[Columns]] = {}
        for row in rows:
            of_tasks.setdefault((row[0], row[1]), []).append(row)
        won = {key: self._claimed(of_task) for key, of_task in of_tasks.items()}
        return [won.get((write.run_id, write.position)) for write in writes]

    def _claimed(self, rows: Sequence[Columns]) -> Claimed:
        columns = rows[0]
        run_id, position, claimed_at, stands, head, status, queue, name, ready_at, *rest = columns[:_OF_TASK]
        priority, attempt, owner, began_at, ring_at, rings, spec, generation, number = rest
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
        standing = None
        if stands:
            read = self._tables.encoding.read_event
            # Without an event there is one row, in which its columns are empty.
            events = tuple(read(row[_OF_TASK:_OF_EVENTS]) for row in rows) if number is not None else ()
            standing = Standing(head=head, status=Status(status), events=events)
        run = self._run_of(run_id, columns[_OF_EVENTS:])
        return Claimed(task=task, run=run, generation=generation, now=now, standing=standing)

    def _run_of(self, run_id: UUID, columns: Columns) -> RunRow:
        run = self._cache.get(run_id)
        if run is None:
            run = self._tables.run.row_out(columns)
            self._cache.add(run)
        return run
