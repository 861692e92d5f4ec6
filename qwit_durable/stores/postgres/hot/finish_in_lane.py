"""The end of a head: what `finish` does, and the lane goes on with its next run, whose turn is the caller's, or owed.

All of it in one statement, which waits for nobody once the ended runs are its own: a lane in which others are about to
start, or to leave, is left to the kernel, which waits its turn; and a next run that somebody else is at is owed a turn.
So those who wait for a lane while they hold live rows, as the kernel does, never wait in a circle with this.

The statement sees lanes as they were when it began. So it locks a lane's row, and has it only if nobody has come or
left since: `last` grows with each who comes, and `waiting` is one less with each who leaves, so no two states of one
head's time share both.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs
from psycopg.pq.abc import PGresult

from qwit_durable.core import Event
from qwit_durable.stores.answers import Acquired, Answer, Committed
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.acquire import histories
from qwit_durable.stores.postgres.hot.append import IS_HELD, NOW
from qwit_durable.stores.postgres.hot.finish import ENDED, ENDS, ends
from qwit_durable.stores.postgres.hot.places import is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import rows, turns_asked
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Lives, Runs
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.writes import Commit, Write

__all__ = ["FinishInLane"]

_LANE = (20, "namespace text"), (21, "lane text"), (22, "queue text"), (23, "takes bool")
_FINISH = f"""
WITH mine AS (
    SELECT given.* FROM {rows("given", 2, ENDS, *_LANE)} JOIN qwit.live ON {is_key("live.run_id", "id")}
    WHERE {IS_HELD} FOR UPDATE OF live
), seen AS MATERIALIZED (
    SELECT mine.*, own.* FROM mine CROSS JOIN LATERAL (
        SELECT lane.ctid AS place, number, last, waiting FROM qwit.lane
        WHERE lane.namespace = mine.namespace AND lane.lane = mine.lane LIMIT 1
    ) AS own
), held AS (
    SELECT seen.* FROM seen JOIN qwit.lane ON lane.ctid = seen.place
    WHERE lane.head = id AND lane.last = seen.last AND lane.waiting = seen.waiting
    FOR UPDATE OF lane SKIP LOCKED
), followed AS (
    SELECT held.*, behind.run_id AS next, behind.number AS next_number FROM held LEFT JOIN LATERAL (
        SELECT run_id, number FROM qwit.place
        WHERE place.namespace = held.namespace AND place.lane = held.lane AND place.number > held.number
        ORDER BY number LIMIT 1
    ) AS behind ON held.waiting > 0
), won AS (
    DELETE FROM qwit.live USING followed
    WHERE {is_key("live.run_id", "id")} AND (next IS NOT NULL OR waiting = 0)
    RETURNING live.run_id, live.head, count, live.epoch, live.generation, {NOW} AS at, cancel_asked,
        end_status, end_value, failure, undone, holder, place, next, next_number, queue, takes
), {ENDED}, left_places AS (
    DELETE FROM qwit.place USING won WHERE {is_key("place.run_id", "next")}
), moved AS (
    UPDATE qwit.lane SET head = next, number = next_number, waiting = lane.waiting - 1, since = at
    FROM won WHERE lane.ctid = place AND next IS NOT NULL
), over AS (
    DELETE FROM qwit.lane USING won WHERE lane.ctid = place AND next IS NULL
), free AS (
    SELECT next, holder FROM won JOIN qwit.run ON {is_key("run.id", "next")} AND run.queue = won.queue
    JOIN qwit.live ON {is_key("live.run_id", "next")}
    WHERE takes AND live.status = 'scheduled' AND live.owner IS NULL AND NOT live.begun AND live.lost = 0
    AND coalesce((SELECT ready_at FROM qwit.task WHERE task.run_id = next AND task.position = '') <= {NOW}, true)
    FOR UPDATE OF live SKIP LOCKED
), taken AS (
    UPDATE qwit.live SET
        status = 'running', owner = holder, epoch = live.epoch + 1, begun = true, note = null, updated_at = {NOW}
    FROM free WHERE {is_key("live.run_id", "next")}
    RETURNING {Lives.listed("live")}
), turns AS (
    DELETE FROM qwit.task WHERE run_id = ANY(ARRAY(SELECT run_id FROM taken)) AND position = ''
), asked AS (
    {turns_asked(f"won JOIN qwit.run ON {is_key('run.id', 'next')} AND next NOT IN (SELECT run_id FROM taken)", "at")}
)
SELECT won.run_id, won.head + count, at, won.cancel_asked, {Lives.listed("taken")}, {Runs.listed("run")} FROM won
LEFT JOIN taken ON taken.run_id = next LEFT JOIN qwit.run ON {is_key("run.id", "next")}
""".encode()
_COMMITTED, _LIVE = 4, len(Lives.columns)


class FinishInLane:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._tables = tables
        self._cache = cache

    def takes(self, write: Write) -> Sequence[UUID] | None:
        """The run, if the write only ends it, as the head of its lane."""
        if type(write) is not Commit or write.outcome is None or write.seen is not None or not write.is_plain:
            return None
        run = self._cache.get(write.run_id)
        return None if run is None or run.lane is None or run.parent_id is not None else (write.run_id,)

    def questions(self, writes: Sequence[Commit], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        runs = [run for write in writes if (run := self._cache.get(write.run_id)) is not None]
        params = (
            now,
            *ends(writes, self._tables),
            binary.texts([run.namespace for run in runs]),
            binary.texts([run.lane for run in runs]),
            binary.texts([run.queue for run in runs]),
            binary.flags([write.takes_next for write in writes]),
        )
        return ((_FINISH, params),)

    def answers(
        self, writes: Sequence[Commit], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won, with the next run, or the bell for it."""
        won = {columns[0]: self._committed(columns) for columns in link.rows(results[0])}
        behind = [
            (answer.acquired.run.id, 0, answer.acquired.live.head)
            for answer in won.values()
            if answer.acquired is not None and answer.acquired.live.head
        ]
        if behind:
            # What came while it waited: signals, and what operators asked for.
            found = histories(behind, link, self._tables)
            won = {run_id: _with_events(answer, found) for run_id, answer in won.items()}
        return [won.get(write.run_id) for write in writes]

    def _committed(self, columns: Columns) -> Committed:
        _, head, now, cancel_asked = columns[:_COMMITTED]
        done = Committed(head=head, now=now, cancel_asked=cancel_asked)
        live, run = columns[_COMMITTED : _COMMITTED + _LIVE], columns[_COMMITTED + _LIVE :]
        if run[0] is None:
            return done
        following = self._tables.run.row_out(run)
        self._cache.add(following)
        if live[0] is None:
            ring = Ring(run_id=following.id, position=TURN, queue=following.queue, name=following.workflow)
            return attrs.evolve(done, rings=(ring,))
        row = self._tables.live.row_out(live)
        return attrs.evolve(done, acquired=Acquired(run=following, live=row, events=(), now=now))


def _with_events(answer: Committed, found: dict[UUID, list[Event]]) -> Committed:
    if answer.acquired is None:
        return answer
    events = tuple(found.get(answer.acquired.run.id, ()))
    return attrs.evolve(answer, acquired=attrs.evolve(answer.acquired, events=events))
