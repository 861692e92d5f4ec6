"""Timers and bells that are due, hundreds in one statement.

What firing a timer means is written in `stores.kernel.sweeping`; what is here is its common case, and a test compares
the two: timers that record that they have fired, and those that ask for a turn. Due timers are taken from the longest
due on, up to the first one of any other kind (a deadline, the end of an open step, the start of a run in a lane), which
the kernel sees to; so the order in which they are fired is the same.

The live rows are locked first, and those that somebody else works on are left out, so nobody waits here. The statements
are not prepared: where the server knows the limit it walks along the index, whatever its statistics say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qwit_durable.clock import monotonic
from qwit_durable.core import TimerFired
from qwit_durable.stores.answers import Rings
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.kernel.sweeping import FIRST_RING, LAST_RING, RING_DOUBLINGS, STUCK_LATER
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.postgres.connecting import PgStatements
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.sql.tables import EVENT_COLUMNS
from qwit_durable.stores.sql.walks import Walks
from qwit_durable.stores.upkeep_writes import RingDue

__all__ = ["fire_hot", "ring_hot"]

_CLOCK = "clock AS MATERIALIZED (SELECT coalesce(%s::timestamptz, clock_timestamp()) AS now)"

_FIRE = f"""
WITH {_CLOCK}, first AS MATERIALIZED (
    SELECT run_id, position FROM qwit.timer WHERE fire_at >= %s AND fire_at <= (SELECT now FROM clock)
    ORDER BY fire_at, run_id, position LIMIT %s
), due AS MATERIALIZED (
    SELECT one.* FROM first CROSS JOIN LATERAL (
        SELECT timer.run_id, timer.position, fire_at, kind = 'fire' AS fires, queue, workflow, CASE kind
            WHEN 'fire' THEN status <> 'scheduled'
            WHEN 'wake' THEN timer.position <> 'start' OR lane IS NULL ELSE false
        END AS is_plain
        FROM qwit.timer JOIN qwit.live ON live.run_id = timer.run_id JOIN qwit.run ON run.id = timer.run_id
        WHERE timer.run_id = first.run_id AND timer.position = first.position
        AND fire_at <= (SELECT now FROM clock) LIMIT 1 FOR UPDATE OF live, timer SKIP LOCKED
    ) AS one
), ranked AS (
    SELECT *, row_number() OVER in_order AS place, bool_and(is_plain) OVER in_order AS goes
    FROM due WINDOW in_order AS (ORDER BY fire_at, run_id, position)
), fired AS MATERIALIZED (
    SELECT * FROM ranked WHERE goes
), of_run AS (
    SELECT run_id, min(queue) AS queue, min(workflow) AS workflow, array_agg(place) AS places,
        array_agg(position ORDER BY place) FILTER (WHERE fires) AS positions, count(*) FILTER (WHERE fires) AS count,
        bool_or(NOT fires) AS wakes
    FROM fired GROUP BY run_id
), gone AS (
    DELETE FROM qwit.timer USING fired WHERE timer.run_id = fired.run_id AND timer.position = fired.position
), moved AS (
    UPDATE qwit.live SET head = head + count, awaiting = 0, updated_at = (SELECT now FROM clock),
        status = CASE WHEN wakes AND status = 'scheduled' THEN 'running' ELSE status END
    FROM of_run WHERE live.run_id = of_run.run_id
    RETURNING live.run_id, head - count AS before, positions, places, queue, workflow,
        owner IS NULL AND status NOT IN ('paused', 'stuck', 'scheduled') AS is_free
), added AS (
    INSERT INTO qwit.event (run_id, number, at, {EVENT_COLUMNS})
    SELECT run_id, before + nth, now, %s, position, %s, %s, %s, %s, %s
    FROM moved, unnest(positions) WITH ORDINALITY AS one (position, nth), clock
), owed AS (
    INSERT INTO qwit.task AS task (
        run_id, position, queue, name, ready_at, ring_at, attempt, rings, cancelled
    ) SELECT run_id, '', queue, workflow, now, now + %s, 0, 0, false FROM moved, clock WHERE is_free
    ON CONFLICT (run_id, position) DO UPDATE SET
        queue = excluded.queue, name = excluded.name, rings = 0, note = NULL,
        ready_at = least(task.ready_at, excluded.ready_at), ring_at = least(task.ring_at, excluded.ring_at)
)
SELECT run_id, queue, workflow, is_free FROM moved, unnest(places) AS place ORDER BY place
"""

_RING = f"""
WITH {_CLOCK}, due AS MATERIALIZED (
    SELECT run_id, position, owner, ring_at FROM qwit.task
    WHERE ring_at >= %s AND ring_at <= (SELECT now FROM clock) AND (%s::text[] IS NULL OR queue = ANY(%s))
    ORDER BY ring_at, run_id, position LIMIT %s FOR UPDATE SKIP LOCKED
), judged AS (
    SELECT due.*, row_number() OVER (ORDER BY ring_at, run_id, position) AS place,
        position <> '' AND EXISTS (SELECT 1 FROM qwit.worker WHERE id = due.owner AND expires_at > now) AS is_held
    FROM due, clock
), put_off AS (
    UPDATE qwit.task SET
        ring_at = now + CASE WHEN is_held THEN %s ELSE least(%s * 2 ^ least(rings, {RING_DOUBLINGS}), %s) END,
        rings = rings + (NOT is_held)::int
    FROM judged, clock WHERE task.run_id = judged.run_id AND task.position = judged.position
    RETURNING task.run_id, task.position, queue, name, priority, is_held, place
)
SELECT now, run_id, position, queue, name, priority, is_held FROM clock LEFT JOIN put_off ON true ORDER BY place
"""


def fire_hot(
    statements: PgStatements, encoding: Encoding, walks: Walks, limit: int, now: datetime | None
) -> tuple[int, tuple[Ring, ...]]:
    """Fire plain timers, at most so many; answer how many, and the bells that are owed."""
    kind, _, name, attempt, args, value, detail = encoding.write_event(TimerFired(position=""))
    since = walks.of("timer").since  # the kernel, which is asked for the rest, tells how the walk went
    params: list[Any] = [now, since, limit, kind, name, attempt, args, value, detail, RING_GRACE]
    rows = statements.once(_FIRE, params)
    return len(rows), tuple(
        Ring(run_id=run_id, position="", queue=queue, name=workflow)
        for run_id, queue, workflow, is_free in rows
        if is_free
    )


def ring_hot(statements: PgStatements, walks: Walks, write: RingDue, now: datetime | None) -> Rings:
    """Name the tasks nobody has begun, and put off their next ringing."""
    queues = None if write.queues is None else list(write.queues)
    walk = walks.of(("task", *(queues or ())))
    since, began = walk.since, monotonic()
    params: list[Any] = [now, since, queues, queues, write.limit, STUCK_LATER, FIRST_RING, LAST_RING]
    found = statements.once(_RING, params)
    rows = [row[1:] for row in found if row[1] is not None]
    walk.taken(since, found[0][0], monotonic() - began, left_none=len(rows) < write.limit)
    rings = tuple(
        Ring(run_id=run_id, position=position, queue=queue, name=name, priority=priority)
        for run_id, position, queue, name, priority, is_held in rows
        if not is_held
    )
    return Rings(rings=rings, more=len(rows) >= write.limit)
