"""Appending to a run's history and asking for its turn: shared by all writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from qwit_durable.core import Event, Status
from qwit_durable.stores.rows import TURN, LiveRow, Ring, RunRow, TaskRow
from qwit_durable.stores.session import Session

__all__ = ["RING_GRACE", "append", "ask_for_turn", "is_held", "may_move", "ring_for"]

#: How long the sweeper leaves a fresh task to the bell that was rung for it.
RING_GRACE = timedelta(seconds=2)

_STANDS_STILL = frozenset({Status.PAUSED, Status.STUCK})


def may_move(live: LiveRow) -> bool:
    """Whether the run's status lets it go on."""
    return live.status not in _STANDS_STILL


def is_held(session: Session, owner: int | None, *, may_take_over: bool) -> bool:
    """Whether a holder stands in the way: any at all, or a living one."""
    if owner is None:
        return False
    if not may_take_over:
        return True
    row = session.worker(owner)
    return row is not None and session.is_alive(row)


def ring_for(task: TaskRow) -> Ring:
    """The bell of a task."""
    return Ring(
        run_id=task.run_id,
        position=task.position,
        queue=task.queue,
        name=task.name,
        priority=task.priority,
    )


def ask_for_turn(
    session: Session,
    run: RunRow,
    *,
    after: timedelta = timedelta(0),
    grace: timedelta = RING_GRACE,
    is_owed_none: bool = False,
) -> Ring:
    """Owe the run a turn, due `after` from now, and answer the bell for it.

    A turn that is owed already stays due when it was: or what comes often would put off the sweeper for ever.
    `is_owed_none` spares the look, for a run that is new or held.
    """
    due = session.now + after
    owed = None if is_owed_none else session.task(run.id, TURN)
    task = TaskRow(
        run_id=run.id,
        position=TURN,
        queue=run.queue,
        name=run.workflow,
        ready_at=due,
        ring_at=due + grace if not after else due,
    )
    if owed is not None:
        ready_at, ring_at = min(owed.ready_at, task.ready_at), min(owed.ring_at, task.ring_at)
        task = attrs.evolve(task, ready_at=ready_at, ring_at=ring_at)
    session.put_task(task)
    return ring_for(task)


def append(
    session: Session,
    live: LiveRow,
    events: Sequence[Event],
    *,
    wake: bool,
    successes: int = 0,
    grace: timedelta = RING_GRACE,
) -> tuple[LiveRow, Ring | None]:
    """Append somebody else's events to a run, and ask for its turn if it is free and it is time.

    `wake` asks at once; otherwise `successes` count down what the run waits for.
    """
    session.append(live.run_id, live.head + 1, events)
    awaiting = 0 if wake else max(live.awaiting - successes, 0)
    live = attrs.evolve(live, head=live.head + len(events), awaiting=awaiting, updated_at=session.now)
    session.put_live(live)
    if live.owner is not None or awaiting > 0 or not may_move(live) or live.status is Status.SCHEDULED:
        return live, None
    run = session.run(live.run_id)
    assert run is not None
    return live, ask_for_turn(session, run, grace=grace)
