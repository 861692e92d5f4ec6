"""Outcomes of queued steps with the whole of the turn that they make due: what hands the next steps over and lets go.

A queued step is two writes by that: its claim, and this. For runs that nobody holds, whose history is as long as the
caller knows, and which wait for nothing but this outcome. The live row is locked before the task's, and both are looked
at as they are then; nothing else is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Accepted, Answer, Committed
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import ADDED, NOW, committed, event_arrays
from qwit_durable.stores.postgres.hot.hand_over import HandOver, added_tasks, task_arrays, with_rings
from qwit_durable.stores.postgres.hot.places import IS_TASK, is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import EVENT_ROWS, rows
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Commit, ResolveTask, Write

__all__ = ["GoOn", "accepted", "gone_on"]

_GIVEN = (
    "id uuid, place text, holder int8, try int8, known int8, "
    "of_generation int8, count int8, waits_for int8, why text"
)


def gone_on(first: int) -> str:
    """The statement's part that carries all of them out, with parameters from there on."""
    return f"""free AS MATERIALIZED (
    SELECT id, place, holder, try, count, waits_for, why
    FROM {rows("given", first, _GIVEN)}
    JOIN qwit.live ON {is_key("live.run_id", "id")}
    WHERE live.owner IS NULL AND head = known AND generation = of_generation AND awaiting <= 1
    AND status IN ('running', 'compensating')
    ORDER BY id FOR UPDATE OF live
), gone AS (
    DELETE FROM qwit.task USING free
    WHERE {IS_TASK} AND task.owner + 0 = holder AND task.attempt = try
    AND task.parked_at IS NULL
    RETURNING id, count, waits_for, why
), won AS (
    UPDATE qwit.live SET
        head = live.head + count, awaiting = waits_for, updated_at = {NOW}, epoch = live.epoch + 1, begun = false,
        lost = 0, note = why
    FROM gone WHERE {is_key("live.run_id", "id")}
    RETURNING live.run_id, live.head, live.head - count AS before, updated_at, cancel_asked
), turns AS (
    DELETE FROM qwit.task WHERE run_id = ANY(ARRAY(SELECT run_id FROM won)) AND position = ''
), added AS (
    {ADDED} SELECT run_id, before + nth, updated_at, {EVENT_COLUMNS}
    FROM {rows("event", first + 9, f"run_id uuid, nth int8, {EVENT_ROWS}")} JOIN won USING (run_id)
), tasks AS (
    {added_tasks(first + 18)}
)"""


_GO_ON = f"WITH {gone_on(2)} SELECT run_id, head, updated_at, cancel_asked FROM won".encode()


class GoOn:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables) -> None:
        self._encoding = tables.encoding
        self._hand_over = HandOver(tables)

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """The run, if the turn does nothing but hand over and let go."""
        if type(write) is not ResolveTask or write.then is None or not write.lets_none:
            return None
        then, release = write.then, write.then.release
        if release is None or release.keep_lost or then.head is None or self._hand_over.takes(then) is None:
            return None
        # In one statement, what ends a task and what begins one do not see each other.
        is_another = all(new.position != write.event.position for new in then.tasks)
        return (write.run_id,) if is_another else None

    def questions(self, writes: Sequence[ResolveTask], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        return ((_GO_ON, (now, *self.params(writes))),)

    def params(self, writes: Sequence[ResolveTask]) -> Sequence[bytes]:
        """What `gone_on` takes."""
        thens = [write.then for write in writes if write.then is not None]
        releases = [then.release for then in thens if then.release is not None]
        events = [(write.event, *then.events) for write, then in zip(writes, thens, strict=True)]
        return (
            binary.uuids([write.run_id for write in writes]),
            binary.texts([write.event.position for write in writes]),
            binary.numbers([write.worker for write in writes]),
            binary.numbers([write.attempt for write in writes]),
            binary.numbers([then.head - 1 for then in thens if then.head is not None]),
            binary.numbers([then.generation for then in thens]),
            binary.numbers(list(map(len, events))),
            binary.numbers([max(release.awaiting, 0) for release in releases]),
            binary.texts([release.note for release in releases]),
            binary.uuids([then.run_id for then, own in zip(thens, events, strict=True) for _ in own]),
            binary.numbers([nth for own in events for nth, _ in enumerate(own, start=1)]),
            *event_arrays([self._encoding.write_event(event) for own in events for event in own]),
            *task_arrays(thens, self._encoding),
        )

    def answers(
        self, writes: Sequence[ResolveTask], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won, with the bells of the next steps."""
        _ = link
        thens = [write.then for write in writes if write.then is not None]
        return [
            None if answer is None else accepted(then, answer)
            for then, answer in zip(thens, committed(thens, results[0]), strict=True)
        ]


def accepted(then: Commit, answer: Committed) -> Accepted:
    """The outcome is recorded, and the turn that followed was carried out."""
    return Accepted(head=then.head or 0, committed=with_rings(answer, then))
