"""The hottest write: transitions that only append events, of one run or of many, in one statement and one commit.

The holder, the epoch and the head are compared in the update's `WHERE`, under the row's lock, and the events are
inserted for the rows that were updated. Whoever is not among the rows answered has lost, and is looked at again by the
kernel, which says why. So the meaning stays where it is written, and what is here is its common case: a test compares
the two. For a single event the values are parameters of their own; arrays cost three times the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeGuard

from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.pg.connecting import PgStatements
from qwit_durable.stores.sql.tables import EVENT_COLUMNS
from qwit_durable.stores.writes import Commit, Write

__all__ = ["append_hot", "are_hot"]

_ADDED = f"INSERT INTO qwit.event (run_id, number, at, {EVENT_COLUMNS})"

_ONE = f"""
WITH won AS (
    UPDATE qwit.live SET head = head + 1, lost = 0, updated_at = coalesce(%s::timestamptz, clock_timestamp())
    WHERE run_id = %s AND owner = %s AND epoch = %s AND head = coalesce(%s, head)
    RETURNING run_id, head, updated_at, cancel_asked
), added AS (
    {_ADDED} SELECT run_id, head, updated_at, %s, %s, %s, %s, %s, %s, %s FROM won
)
SELECT head, updated_at, cancel_asked FROM won
"""

_MANY = f"""
WITH given AS (
    SELECT * FROM unnest(%s::uuid[], %s::int8[], %s::int8[], %s::int8[], %s::int8[])
    AS given (run_id, worker, epoch, head, count)
), won AS (
    UPDATE qwit.live SET
        head = live.head + count, lost = 0, updated_at = coalesce(%s::timestamptz, statement_timestamp())
    FROM given
    WHERE live.run_id = given.run_id AND live.owner = worker AND live.epoch = given.epoch
    AND live.head = coalesce(given.head, live.head)
    RETURNING live.run_id, live.head, live.head - count AS before, updated_at, cancel_asked
), added AS (
    {_ADDED} SELECT run_id, before + nth, updated_at, {EVENT_COLUMNS}
    FROM unnest(
        %s::uuid[], %s::int8[], %s::text[], %s::text[], %s::text[], %s::int8[], %s::bytea[], %s::bytea[], %s::bytea[]
    ) AS event (run_id, nth, {EVENT_COLUMNS}) JOIN won USING (run_id)
)
SELECT run_id, head, updated_at, cancel_asked FROM won
"""


def are_hot(writes: Sequence[Write]) -> TypeGuard[Sequence[Commit]]:
    """Whether all of these only append events, each to a run of its own."""
    return all(map(_is_hot, writes)) and len({write.run_id for write in writes}) == len(writes)  # type: ignore[union-attr]


def _is_hot(write: Write) -> bool:
    return (
        isinstance(write, Commit)
        and bool(write.events)
        and write.known is None
        and write.release is None
        and write.outcome is None
        and write.report is None
        and write.status is None
        and write.reason is None
        and not (
            write.settle
            or write.tasks
            or write.timers
            or write.drop_timers
            or write.starts
            or write.reopens
            or write.published
            or write.restart
        )
    )


def append_hot(
    statements: PgStatements, encoding: Encoding, writes: Sequence[Commit], now: datetime | None
) -> list[Answer | None]:
    """Carry them out and answer those that won; None for the others."""
    if len(writes) == 1 and len(writes[0].events) == 1:
        rows = statements.rows(_ONE, _params_of_one(writes[0], encoding, now))
        return [Committed(head=row[0], now=row[1], cancel_asked=row[2]) for row in rows] or [None]
    rows = statements.rows(_MANY, _params_of_many(writes, encoding, now))
    won = {row[0]: Committed(head=row[1], now=row[2], cancel_asked=row[3]) for row in rows}
    return [won.get(write.run_id) for write in writes]


def _params_of_one(write: Commit, encoding: Encoding, now: datetime | None) -> Sequence[Any]:
    event = encoding.write_event(write.events[0])
    return now, write.run_id, write.worker, write.epoch, write.head, *event


def _params_of_many(writes: Sequence[Commit], encoding: Encoding, now: datetime | None) -> Sequence[Any]:
    # In the order of ids, in which everybody locks.
    ordered = sorted(writes, key=lambda write: write.run_id)
    events = [
        (write.run_id, nth, *encoding.write_event(event))
        for write in ordered
        for nth, event in enumerate(write.events, start=1)
    ]
    return (
        [write.run_id for write in ordered],
        [write.worker for write in ordered],
        [write.epoch for write in ordered],
        [write.head for write in ordered],
        [len(write.events) for write in ordered],
        now,
        *(list(column) for column in zip(*events, strict=True)),
    )
