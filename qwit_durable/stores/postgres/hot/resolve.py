"""Outcomes of queued steps, any number for one run, with the turn of the run where they make it due.

The live rows are locked by a statement of their own before: so what is read here besides is what it is, and the history
that comes with a turn is whole. The outcomes of one run count as if they came one after the other, in their order in
the batch: the first one that leaves nothing to wait for takes the turn, or asks for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from uuid import UUID

import attrs
from psycopg.pq.abc import PGresult

from qwit_durable.core import Event, Value
from qwit_durable.stores.answers import Accepted, Acquired, Answer
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import ADDED, NOW, event_arrays
from qwit_durable.stores.postgres.hot.places import IS_TASK, is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import rows, turns_asked
from qwit_durable.stores.rows import TURN, LiveRow, Ring, RunRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Lives
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import ResolveTask, Write

__all__ = ["Resolve"]

#: A longer history than that is read apart from the outcomes, without their columns in every row.
_SHORT = 100
#: `EVENT_COLUMNS` of an outcome, by names that no column of a task has; and those of an event in the history.
_OUTCOME = "kind, at_place, called, tried, args, value, detail"
_OF_EVENT = ", ".join(f"event.{column}" for column in EVENT_COLUMNS.split(", "))
_HISTORY = f"""
SELECT {EVENT_COLUMNS} FROM qwit.event WHERE run_id = $1::uuid AND number > $2::int8 AND number <= $3::int8
ORDER BY number
""".encode()
_OUTCOMES = "kind text, at_place text, called text, tried int8, args bytea, value bytea, detail bytea"
_GIVEN = (
    "nth int8, id uuid, place text, holder int8, try int8, is_well bool, "
    "wants bool, after int8, of_generation int8"
)
_RESOLVE = f"""
WITH gone AS (
    DELETE FROM qwit.task USING {rows("given", 2, f"{_GIVEN}, {_OUTCOMES}")}
    WHERE {IS_TASK} AND task.owner + 0 = holder AND task.attempt = try
    AND task.parked_at IS NULL
    RETURNING nth, id, holder, is_well, wants, after, of_generation, {_OUTCOME}
), grown AS (
    SELECT id, count(*) AS count, bool_and(is_well) AS are_well, bool_or(wants) AS wants, min(holder) AS holder,
        min(nth) AS first, min(after) AS after, min(of_generation) AS of_generation
    FROM gone GROUP BY id
), seen AS (
    SELECT grown.*, head AS head_before, awaiting AS awaiting_before,
        CASE WHEN are_well THEN greatest(awaiting - count, 0) ELSE 0 END AS left_open,
        owner IS NULL AND status IN ('running', 'compensating') AS is_free,
        CASE WHEN generation = of_generation THEN after ELSE 0 END AS known
    FROM grown JOIN qwit.live ON {is_key("live.run_id", "id")}
), won AS (
    UPDATE qwit.live SET
        head = live.head + count, awaiting = left_open, updated_at = {NOW},
        owner = CASE WHEN takes THEN holder ELSE live.owner END, epoch = live.epoch + takes::int,
        lost = live.lost + (takes AND live.begun)::int, begun = live.begun OR takes,
        note = CASE WHEN NOT takes THEN live.note END
    FROM (SELECT *, is_free AND left_open = 0 AND wants AS takes FROM seen) AS seen
    WHERE {is_key("live.run_id", "id")}
    RETURNING {Lives.listed("live")}, head_before, awaiting_before, first, known, takes,
        is_free AND left_open = 0 AND NOT takes AS asks
), added AS (
    {ADDED} SELECT
        id, head_before + row_number() OVER (PARTITION BY id ORDER BY nth), updated_at, {_OUTCOME}
    FROM gone JOIN won ON run_id = id
), turns AS (
    DELETE FROM qwit.task WHERE run_id = ANY(ARRAY(SELECT run_id FROM won WHERE takes)) AND position = ''
), asked AS (
    {turns_asked(f"won JOIN qwit.run ON asks AND {is_key('run.id', 'run_id')}", "updated_at")}
)
SELECT nth, head_before, awaiting_before, takes, asks, known, {Lives.listed("won")}, {_OF_EVENT}
FROM gone JOIN won ON won.run_id = id
LEFT JOIN LATERAL (
    SELECT event.* FROM qwit.event
    -- Not two conditions: then the history would be read for each outcome, and left out afterwards. In an order of its
    -- own, so that it is looked for by itself.
    WHERE event.run_id = CASE WHEN takes AND nth = first AND head_before - known <= {_SHORT} THEN id END
    AND number > known ORDER BY number
) AS event ON true
ORDER BY nth, number
""".encode()
_BEFORE, _LIVE = 6, len(Lives.columns)


class Resolve:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._tables = tables
        self._cache = cache

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """The run, if the write records an outcome that lets no other task begin."""
        if type(write) is not ResolveTask or not write.lets_none or write.then is not None:
            return None
        return (write.run_id,) if self._cache.get(write.run_id) is not None else None

    def questions(self, writes: Sequence[ResolveTask], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        turns = [write.turn for write in writes]
        params = (
            now,
            binary.numbers(range(len(writes))),
            binary.uuids([write.run_id for write in writes]),
            binary.texts([write.event.position for write in writes]),
            binary.numbers([write.worker for write in writes]),
            binary.numbers([write.attempt for write in writes]),
            binary.flags([isinstance(write.event.outcome, Value) for write in writes]),
            binary.flags([turn is not None for turn in turns]),
            binary.numbers([0 if turn is None else turn.after for turn in turns]),
            binary.numbers([0 if turn is None else turn.generation for turn in turns]),
            *event_arrays([self._tables.encoding.write_event(write.event) for write in writes]),
        )
        return ((_RESOLVE, params),)

    def answers(
        self, writes: Sequence[ResolveTask], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that still owned their attempts."""
        answers: list[Answer | None] = [None] * len(writes)
        of_writes: dict[int, list[Columns]] = {}
        for row in link.rows(results[0]):
            of_writes.setdefault(row[0], []).append(row)
        # In the order of the batch, in which the writes about one run stand side by side.
        of_runs: dict[UUID, list[int]] = {}
        for nth in of_writes:
            of_runs.setdefault(writes[nth].run_id, []).append(nth)
        for run_id, won in of_runs.items():
            done = self._one_by_one(run_id, [writes[nth] for nth in won], of_writes[won[0]], link)
            for nth, answer in zip(won, done, strict=True):
                answers[nth] = answer
        return answers

    def _one_by_one(
        self, run_id: UUID, writes: Sequence[ResolveTask], rows: Sequence[Columns], link: Prepared
    ) -> Iterator[Accepted]:
        _, head, awaiting, takes, asks, known = rows[0][:_BEFORE]
        before, is_over = head, False
        run = self._cache.get(run_id)
        assert run is not None
        for nth, write in enumerate(writes, start=1):
            head += 1
            awaiting = max(awaiting - 1, 0) if isinstance(write.event.outcome, Value) else 0
            if awaiting or is_over or not (takes or asks):
                yield Accepted(head=head)
            elif asks:
                ring = Ring(run_id=run_id, position=TURN, queue=run.queue, name=run.workflow)
                yield Accepted(head=head, rings=(ring,))
            else:
                is_over = True
                live = self._tables.live.row_out(rows[0][_BEFORE : _BEFORE + _LIVE])
                own = [one.event for one in writes[:nth]]
                events = (*self._unknown(rows, run_id, known, before, link), *own)
                yield Accepted(head=head, acquired=_acquired(run, live, head, events))

    def _unknown(
        self, rows: Sequence[Columns], run_id: UUID, known: int, head: int, link: Prepared
    ) -> Sequence[Event]:
        """The events after `known`, up to those of this batch."""
        read = self._tables.encoding.read_event
        if head - known <= _SHORT:
            return [read(row[_BEFORE + _LIVE :]) for row in rows] if head > known else []
        params = (run_id.bytes, binary.number(known), binary.number(head))
        (result,) = link.ask([(_HISTORY, params)])
        return [read(columns) for columns in link.rows(result)]


def _acquired(run: RunRow, live: LiveRow, head: int, events: Sequence[Event]) -> Acquired:
    return Acquired(run=run, live=attrs.evolve(live, head=head), events=tuple(events), now=live.updated_at)
