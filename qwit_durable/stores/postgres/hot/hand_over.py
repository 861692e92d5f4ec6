"""Transitions that hand steps over, let go of the run, or both: the write of a run that waits for its queued steps.

Besides what `append` does, the tasks are inserted for the rows that were updated, and those rows are free again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import timedelta

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import (
    ADDED,
    IS_HELD,
    NOW,
    committed,
    event_arrays,
    holders,
    numbered,
)
from qwit_durable.stores.postgres.hot.places import is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import EVENT_ROWS, rows
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Commit, NewTask, Write

__all__ = ["HandOver", "added_tasks", "task_arrays", "with_rings"]

_TASK = (
    "run_id uuid, position text, queue text, name text, priority int8, spec bytea, "
    "attempt int8, owner int8, grace int8"
)
_BEGAN = "CASE WHEN owner IS NOT NULL THEN updated_at END"
_MICROSECOND = timedelta(microseconds=1)
_GIVEN = (
    "id uuid, holder int8, term int8, known int8, count int8, frees bool, "
    "keeps_lost bool, waits_for int8, why text"
)


def added_tasks(first: int) -> str:
    """Tasks of the runs that have `won`, nothing more than begun: `task_arrays` are parameters from there on."""
    return f"""INSERT INTO qwit.task (
        run_id, position, queue, name, priority, spec, ready_at, ring_at, attempt, owner, began_at, claimed_at,
        rings, cancelled, opened
    )
    SELECT run_id, position, queue, name, priority, spec, updated_at,
        updated_at + grace * interval '1 microsecond', attempt, owner, {_BEGAN}, {_BEGAN}, 0, false, 0
    FROM {rows("task", first, _TASK)} JOIN won USING (run_id)
    ON CONFLICT (run_id, position) DO UPDATE SET
        queue = excluded.queue, name = excluded.name, priority = excluded.priority, spec = excluded.spec,
        ready_at = excluded.ready_at, ring_at = excluded.ring_at, attempt = excluded.attempt, rings = 0,
        cancelled = false, opened = 0, owner = excluded.owner, began_at = excluded.began_at,
        claimed_at = excluded.claimed_at, parked_at = null, ended = null, progress = null, progress_at = null,
        note = null"""


_HAND_OVER = f"""
WITH won AS (
    UPDATE qwit.live SET
        head = live.head + count, updated_at = {NOW},
        lost = CASE WHEN count > 0 OR frees AND NOT keeps_lost THEN 0 ELSE live.lost END,
        owner = CASE WHEN NOT frees THEN live.owner END, begun = live.begun AND NOT frees,
        awaiting = coalesce(waits_for, live.awaiting), note = CASE WHEN frees THEN why ELSE live.note END
    FROM {rows("given", 2, _GIVEN)}
    WHERE {is_key("live.run_id", "id")} AND {IS_HELD}
    RETURNING live.run_id, live.head, live.head - count AS before, updated_at, cancel_asked
), added AS (
    {ADDED} SELECT run_id, before + nth, updated_at, {EVENT_COLUMNS}
    FROM {rows("event", 11, f"run_id uuid, nth int8, {EVENT_ROWS}")} JOIN won USING (run_id)
), tasks AS (
    {added_tasks(20)}
)
SELECT run_id, head, updated_at, cancel_asked FROM won
""".encode()


class HandOver:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables) -> None:
        self._encoding = tables.encoding

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """The run, if the write does nothing besides."""
        if type(write) is not Commit or not (write.tasks or write.release is not None):
            return None
        if (
            write.seen is not None
            or write.outcome is not None
            or write.status is not None
            or write.reason is not None
        ):
            return None
        if write.known is not None or write.report is not None or write.restart is not None:
            return None
        if (
            write.settle
            or write.timers
            or write.drop_timers
            or write.starts
            or write.reopens
            or write.published
        ):
            return None
        waits = write.release is not None and write.release.wake_at is not None
        return None if waits or not all(map(_is_plain, write.tasks)) else (write.run_id,)

    def questions(self, writes: Sequence[Commit], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        write_event = self._encoding.write_event
        releases = [write.release for write in writes]
        events = [write_event(event) for write in writes for event in write.events]
        of_run, nth = numbered(writes)
        params = (
            now,
            *holders(writes, [write.run_id.bytes for write in writes]),
            binary.numbers([len(write.events) for write in writes]),
            binary.flags([release is not None for release in releases]),
            binary.flags([release is not None and release.keep_lost for release in releases]),
            binary.numbers([None if release is None else max(release.awaiting, 0) for release in releases]),
            binary.texts([None if release is None else release.note for release in releases]),
            of_run,
            nth,
            *(event_arrays(events) if events else _NO_EVENTS),
            *task_arrays(writes, self._encoding),
        )
        return ((_HAND_OVER, params),)

    def answers(
        self, writes: Sequence[Commit], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won, with the bells of their tasks."""
        _ = link
        won = committed(writes, results[0])
        return [
            None if answer is None else with_rings(answer, write)
            for write, answer in zip(writes, won, strict=True)
        ]


_NO_EVENTS = (
    *(binary.texts(()), binary.texts(()), binary.texts(()), binary.numbers(())),
    *(binary.payloads(()), binary.payloads(()), binary.payloads(())),
)


def _is_plain(new: NewTask) -> bool:
    begins_now = new.began_at is None and new.progress is None and not new.opened
    return begins_now and new.after is None


def task_arrays(writes: Sequence[Commit], encoding: Encoding) -> Sequence[bytes]:
    """The new tasks of these writes as arrays of their columns."""
    tasks = [(write.run_id, new) for write in writes for new in write.tasks]
    return (
        binary.uuids([run_id for run_id, _ in tasks]),
        binary.texts([new.position for _, new in tasks]),
        binary.texts([new.queue for _, new in tasks]),
        binary.texts([new.spec.name for _, new in tasks]),
        binary.numbers([new.priority for _, new in tasks]),
        binary.payloads([encoding.write_spec(new.spec) for _, new in tasks]),
        binary.numbers([new.attempt for _, new in tasks]),
        binary.numbers([write.worker if new.attempt else None for write in writes for new in write.tasks]),
        binary.numbers([(new.quiet or RING_GRACE) // _MICROSECOND for _, new in tasks]),
    )


def with_rings(answer: Committed, write: Commit) -> Committed:
    """The answer with the bells of the write's tasks."""
    rings = tuple(
        Ring(
            run_id=write.run_id,
            position=new.position,
            queue=new.queue,
            name=new.spec.name,
            priority=new.priority,
        )
        for new in write.tasks
        if not new.attempt and new.quiet is None
    )
    return Committed(head=answer.head, now=answer.now, cancel_asked=answer.cancel_asked, rings=rings)
