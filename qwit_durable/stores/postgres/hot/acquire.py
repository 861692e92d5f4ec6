"""Turns of runs that are free: whoever asks first has them.

For runs that are due, move and have no holder, dead or alive; one of which a holder has died since the last progress is
for those who want these too. The history that the asker does not know is read after the turn is its own, in a round
trip of its own: most have none, because they are new or were here before.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.core import Event
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import NOW
from qwit_durable.stores.postgres.hot.places import Places, is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import rows
from qwit_durable.stores.rows import LiveRow, RunRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.run_tables import Lives, Runs
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Acquire, Write

__all__ = ["AcquireFree", "histories"]

_LIVE = len(Lives.columns)
_ACQUIRE = f"""
WITH won AS (
    UPDATE qwit.live SET
        owner = holder, epoch = live.epoch + 1, lost = live.lost + live.begun::int, begun = true, note = null,
        updated_at = {NOW}
    FROM {rows("given", 2, "id uuid, holder int8, is_new bool, lost_too bool")}
    WHERE {is_key("live.run_id", "id")} AND live.owner IS NULL AND live.status IN ('running', 'compensating')
    AND (lost_too OR NOT live.begun AND live.lost = 0)
    AND coalesce((SELECT ready_at FROM qwit.task WHERE task.run_id = id AND task.position = '') <= {NOW}, true)
    RETURNING {Lives.listed("live")}, is_new, live.ctid AS place
), turns AS (
    DELETE FROM qwit.task WHERE run_id = ANY(ARRAY(SELECT run_id FROM won)) AND position = ''
)
SELECT place, {Lives.listed("won")}, {Runs.listed("run")} FROM won
LEFT JOIN qwit.run ON is_new AND {is_key("run.id", "won.run_id")}
""".encode()

#: In an order of its own, so that each history is looked for by itself.
_HISTORIES = f"""
SELECT wanted.run_id, {EVENT_COLUMNS} FROM unnest($1::uuid[], $2::int8[], $3::int8[]) AS wanted (run_id, after, upto)
CROSS JOIN LATERAL (
    SELECT number, {EVENT_COLUMNS} FROM qwit.event
    WHERE event.run_id = wanted.run_id AND number > after AND number <= upto ORDER BY number
) AS event
ORDER BY wanted.run_id, number
""".encode()


class AcquireFree:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables, cache: RunCache, places: Places) -> None:
        self._tables = tables
        self._cache = cache
        self._places = places

    def takes(self, write: Write) -> Sequence[UUID] | None:
        """The run, if a write asks for its turn."""
        return (write.run_id,) if type(write) is Acquire else None

    def questions(self, writes: Sequence[Acquire], now: bytes | None) -> Sequence[Question]:
        """The statement that grants what is free."""
        ids = [write.run_id for write in writes]
        params = (
            now,
            binary.uuids(ids),
            binary.numbers([write.worker for write in writes]),
            binary.flags([self._cache.get(run_id) is None for run_id in ids]),
            binary.flags([write.lost_too for write in writes]),
        )
        return ((_ACQUIRE, params),)

    def answers(
        self, writes: Sequence[Acquire], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won, with the part of the history that they want."""
        found: dict[UUID, tuple[RunRow, LiveRow]] = {}
        for place, *columns in link.rows(results[0]):
            live = self._tables.live.row_out(columns[:_LIVE])
            found[live.run_id] = self._run_of(live, columns[_LIVE:]), live
            self._places.found(live.run_id.bytes, place)
        won = [(write, *found[write.run_id]) for write in writes if write.run_id in found]
        behind = [
            (live.run_id, known, live.head)
            for write, _, live in won
            if (known := write.after if write.generation == live.generation else 0) < live.head
        ]
        found_events = histories(behind, link, self._tables) if behind else {}
        acquired = {
            run.id: Acquired(
                run=run, live=live, events=tuple(found_events.get(run.id, ())), now=live.updated_at
            )
            for _, run, live in won
        }
        return [acquired.get(write.run_id) for write in writes]

    def _run_of(self, live: LiveRow, columns: Columns) -> RunRow:
        run = self._cache.get(live.run_id)
        if run is None:
            run = self._tables.run.row_out(columns)
            self._cache.add(run)
        return run


def histories(
    wanted: Sequence[tuple[UUID, int, int]], link: Prepared, tables: Tables
) -> dict[UUID, list[Event]]:
    """The events of these runs, each after one number and up to another."""
    ids, known, heads = zip(*wanted, strict=True)
    params = (binary.uuids(ids), binary.numbers(known), binary.numbers(heads))
    (result,) = link.ask([(_HISTORIES, params)])
    found: dict[UUID, list[Event]] = {run_id: [] for run_id in ids}
    for columns in link.rows(result):
        found[columns[0]].append(tables.encoding.read_event(columns[1:]))
    return found
