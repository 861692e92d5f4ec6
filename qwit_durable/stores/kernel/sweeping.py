"""Due timers, and bells that were lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from qwit_durable.core import DeadlinePassed, Status, TimerFired
from qwit_durable.stores.answers import Rings
from qwit_durable.stores.kernel.completing import expire
from qwit_durable.stores.kernel.lanes import (
    START_TIMER,
    enter_lane,
    give_up_place,
    is_yet_to_begin,
    lock_lanes,
)
from qwit_durable.stores.kernel.waking import append, ask_for_turn, is_held, may_move, ring_for
from qwit_durable.stores.rows import TURN, LiveRow, Ring, TimerRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import FireTimers, RingDue

__all__ = ["FIRST_RING", "LAST_RING", "RING_DOUBLINGS", "STUCK_LATER", "fire_timers", "ring_due"]

#: The waits between the bells of a task that nobody begins: the first one, how often it is doubled, and the longest.
FIRST_RING = timedelta(seconds=2)
RING_DOUBLINGS = 10
LAST_RING = timedelta(seconds=60)
#: When a task that somebody is in the middle of is looked at again.
STUCK_LATER = timedelta(seconds=30)
_SCHEDULES = 100


def fire_timers(session: Session, write: FireTimers) -> Rings:
    """Fire what is due. A timer is removed with its effect, so it fires once. Schedules are only named."""
    if write.run_id is not None:
        session.live(write.run_id)  # locked first: whoever fires a timer holds this lock, so it fires once
        one = session.timer(write.run_id, write.position or "")
        due: Sequence[TimerRow] = [one] if one is not None and one.fire_at <= session.now else []
    else:
        # The longest due first: so runs take their places in their lanes.
        due = session.due_timers(write.limit)
        lock_lanes(session, (session.run(timer.run_id) for timer in due if timer.position == START_TIMER))
    rings = [ring for timer in due if (ring := _fire(session, timer)) is not None]
    next_timer_at, next_schedule_at = session.next_due()
    told = Rings(
        rings=tuple(rings),
        more=len(due) >= write.limit,
        next_timer_at=next_timer_at,
        next_schedule_at=next_schedule_at,
    )
    if write.run_id is not None or next_schedule_at is None or next_schedule_at > session.now:
        return told
    return attrs.evolve(told, schedules=tuple(session.due_schedules(_SCHEDULES)), now=session.now)


def _fire(session: Session, timer: TimerRow) -> Ring | None:
    live = session.live(timer.run_id)
    session.drop_timer(timer.run_id, timer.position)
    if live is None:
        return None
    match timer.kind:
        case "fire":
            return append(session, live, [TimerFired(position=timer.position)], wake=True)[1]
        case "expire":
            return expire(session, live, timer.position)
        case "deadline":
            if live.status is Status.COMPENSATING or live.cancel_asked:
                return None
            give_up_place(session, live)
            moved = Status.RUNNING if live.status is Status.SCHEDULED else live.status
            return append(session, attrs.evolve(live, status=moved), [DeadlinePassed()], wake=True)[1]
        case "wake":
            return _wake(session, live, is_start=timer.position == START_TIMER)


def _wake(session: Session, live: LiveRow, *, is_start: bool) -> Ring | None:
    run = session.run(live.run_id)
    assert run is not None
    begins = not is_start or not is_yet_to_begin(live) or enter_lane(session, run)
    if live.status is Status.SCHEDULED and begins:
        live = attrs.evolve(live, status=Status.RUNNING)
    live = attrs.evolve(live, awaiting=0, updated_at=session.now)
    session.put_live(live)
    if live.owner is not None or not may_move(live) or not begins:
        return None
    return ask_for_turn(session, run)


def ring_due(session: Session, write: RingDue) -> Rings:
    """Name the tasks nobody has begun and put off their next ringing: 2 s, 4 s, … up to a minute."""
    rings: list[Ring] = []
    due = session.due_tasks(write.limit, write.queues)
    for task in due:
        wait = min(FIRST_RING * 2 ** min(task.rings, RING_DOUBLINGS), LAST_RING)
        if task.position != TURN and is_held(session, task.owner, may_take_over=True):
            session.put_task(attrs.evolve(task, ring_at=session.now + STUCK_LATER))
            continue
        session.put_task(attrs.evolve(task, ring_at=session.now + wait, rings=task.rings + 1))
        rings.append(ring_for(task))
    return Rings(rings=tuple(rings), more=len(due) >= write.limit)
