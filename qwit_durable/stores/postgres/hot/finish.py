"""The transition that ends a run: its last events, its outcome, and the end of its live row and of what it waits for.

That of a run which nobody holds is carried out if the row is as it was seen; each change of it changes one of what is
compared.

For runs that were started from outside and stand in no lane: nobody else's row is touched. Those in lanes have
`finish_in_lane`.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.core import Status
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import (
    ADDED,
    NOW,
    committed,
    event_arrays,
    holders,
    numbered,
)
from qwit_durable.stores.postgres.hot.places import is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import EVENT_ROWS, rows
from qwit_durable.stores.rows import LiveRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Commit, Write

__all__ = ["ENDED", "ENDS", "Finish", "ends"]

ENDS = (
    "id uuid, holder int8, term int8, known int8, count int8, "
    "end_status text, end_value bytea, failure bytea, undone text"
)
#: What goes with the live rows that `won` has removed.
ENDED = f"""ended AS (
    INSERT INTO qwit.outcome (run_id, status, ended_at, value, failure, undone, epoch, head, generation)
    SELECT run_id, end_status, at, end_value, failure, undone, epoch, head + count, generation FROM won
), tasks AS (
    DELETE FROM qwit.task USING won WHERE {is_key("task.run_id", "won.run_id")}
), timers AS (
    DELETE FROM qwit.timer USING won WHERE {is_key("timer.run_id", "won.run_id")}
), added AS (
    {ADDED} SELECT run_id, head + nth, at, {EVENT_COLUMNS}
    FROM {rows("event", 11, f"run_id uuid, nth int8, {EVENT_ROWS}")} JOIN won USING (run_id)
)"""
_FINISH = f"""
WITH won AS (
    DELETE FROM qwit.live
    USING {rows("given", 2, ENDS, (20, "seen_at timestamptz"), (21, "seen_status text"), (22, "seen_awaiting int8"))}
    WHERE {is_key("live.run_id", "id")} AND live.epoch = term AND live.head = coalesce(known, live.head)
    AND CASE WHEN seen_at IS NULL THEN live.owner = holder ELSE
        live.owner IS NULL AND live.updated_at = seen_at AND live.status = seen_status AND live.awaiting = seen_awaiting
    END
    RETURNING live.run_id, live.head, count, live.epoch + (seen_at IS NOT NULL)::int AS epoch, live.generation,
        {NOW} AS at, cancel_asked, end_status, end_value, failure, undone
), {ENDED}
SELECT run_id, head + count, at, cancel_asked FROM won
""".encode()


class Finish:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._tables = tables
        self._cache = cache

    def takes(self, write: Write) -> Sequence[UUID] | None:
        """The run, if the write only ends it."""
        if type(write) is not Commit or write.outcome is None or not write.is_plain:
            return None
        run = self._cache.get(write.run_id)
        is_alone = run is not None and run.lane is None and run.parent_id is None
        return (write.run_id,) if is_alone and (write.seen is None or _may_begin(write, write.seen)) else None

    def questions(self, writes: Sequence[Commit], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        params = (
            now,
            *ends(writes, self._tables),
            binary.times([None if write.seen is None else write.seen.updated_at for write in writes]),
            binary.texts([None if write.seen is None else write.seen.status.value for write in writes]),
            binary.numbers([None if write.seen is None else write.seen.awaiting for write in writes]),
        )
        return ((_FINISH, params),)

    def answers(
        self, writes: Sequence[Commit], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        _ = link
        return committed(writes, results[0])


def ends(writes: Sequence[Commit], tables: Tables) -> Sequence[bytes]:
    """The parameters of `ENDS`, and those of the events that `ENDED` adds."""
    outcomes = [tables.outcome.row_in(write.outcome) for write in writes if write.outcome is not None]
    _, statuses, _, values, failures, undone, *_ = zip(*outcomes, strict=True)
    write_event = tables.encoding.write_event
    of_run, nth = numbered(writes)
    return (
        *holders(writes, [write.run_id.bytes for write in writes]),
        binary.numbers([len(write.events) for write in writes]),
        binary.texts(statuses),
        binary.payloads(values),
        binary.payloads(failures),
        binary.texts(undone),
        of_run,
        nth,
        *event_arrays([write_event(event) for write in writes for event in write.events]),
    )


def _may_begin(write: Commit, seen: LiveRow) -> bool:
    """Whether a turn can be taken in the write that ends the run."""
    is_free = seen.owner is None and not seen.begun and (seen.epoch, seen.head) == (write.epoch, write.head)
    return is_free and seen.status in (Status.RUNNING, Status.COMPENSATING)
