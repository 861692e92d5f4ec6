"""Turns: acquiring a run and committing its transitions, with fencing, settling and joins."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import attrs

from qwit_durable.clock import NEVER
from qwit_durable.core import Reopened, Resolved, Restarted, Status, Value
from qwit_durable.errors import Failure
from qwit_durable.stores.answers import Acquired, Committed, Conflict, Fenced, Refused
from qwit_durable.stores.kernel.lanes import is_head, leave_lane
from qwit_durable.stores.kernel.settling import settle
from qwit_durable.stores.kernel.starting import DEADLINE_TIMER, open_run
from qwit_durable.stores.kernel.waking import (
    RING_GRACE,
    append,
    ask_for_turn,
    is_held,
    may_move,
    ring_for,
)
from qwit_durable.stores.rows import TURN, LiveRow, PublishedRow, Ring, RunRow, TaskRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Acquire, Commit, Release, Reopen

__all__ = ["acquire", "commit", "report_to"]


def acquire(session: Session, write: Acquire) -> Acquired | Refused:
    """Grant or refuse a turn."""
    live, run = session.live(write.run_id), session.run(write.run_id)
    if live is None or run is None:
        session.drop_task(write.run_id, TURN)
        return Refused(reason="missing" if run is None else "ended")
    if not may_move(live):
        session.drop_task(write.run_id, TURN)
        return Refused(reason="paused" if live.status is Status.PAUSED else "stuck", status=live.status)
    if live.status is Status.SCHEDULED and not is_head(session, run):
        return Refused(reason="early", status=live.status)
    if is_held(session, live.owner, may_take_over=write.may_take_over):
        return Refused(reason="held", status=live.status)
    turn = session.task(write.run_id, TURN)
    if turn is not None and turn.ready_at > session.now:
        return Refused(reason="early", status=live.status)
    lost = live.lost + int(live.begun)
    if lost and not write.lost_too:
        ring = Ring(run_id=run.id, position=TURN, queue=run.queue, name=run.workflow)
        return Refused(reason="lost", status=live.status, ring=ring)
    live = attrs.evolve(
        live,
        status=Status.RUNNING if live.status is Status.SCHEDULED else live.status,
        owner=write.worker,
        epoch=live.epoch + 1,
        lost=lost,
        begun=True,
        note=None,
        updated_at=session.now,
    )
    session.put_live(live)
    if turn is not None:
        session.drop_task(write.run_id, TURN)
    known = write.after if write.generation == live.generation else 0
    events = tuple(session.events(write.run_id, known)) if live.head > known else ()
    return Acquired(run=run, live=live, events=events, now=session.now)


def commit(session: Session, write: Commit) -> Committed | Conflict | Fenced:
    """Carry out one transition, or nothing of it."""
    live = _held(session, write) if write.seen is None else _taken(session, write, write.seen)
    if live is None:
        return Fenced()
    done = 0 if write.head in (None, live.head) else _successes_since(session, write)
    if done is None:
        return Conflict(head=live.head)
    run = session.run(write.run_id)
    assert run is not None
    rings: list[Ring] = []
    acquired: Acquired | None = None
    has_grown = write.known is not None and live.head > write.known
    came = tuple(session.events(run.id, write.known or 0)) if has_grown else ()
    settled = [event for one in write.settle for event in settle(session, run, live.generation, one, rings)]
    events = (*write.events, *settled)
    for key, value in write.published:
        session.put_published(PublishedRow(run_id=run.id, key=key, value=value, at=session.now))
    if write.restart is not None:
        return _restart(session, run, live, write.restart)
    if events:
        session.append(write.run_id, live.head + 1, events)
    _hand_over(session, run, write, rings)
    live = attrs.evolve(
        live,
        head=live.head + len(events),
        lost=0 if events else live.lost,
        status=write.status or live.status,
        reason=write.reason if write.status is not None else live.reason,
        updated_at=session.now,
    )
    if write.report is not None:
        rings.extend(report_to(session, write.report.run_id, write.report.event))
    if write.outcome is not None:
        session.put_outcome(
            attrs.evolve(
                write.outcome,
                ended_at=session.now,
                epoch=live.epoch,
                head=live.head,
                generation=live.generation,
            )
        )
        session.drop_live(write.run_id)
        session.drop_work(write.run_id)
        following = leave_lane(session, run)
        acquired = _take_next(session, write, run, following)
        if following is not None and acquired is None:
            rings.append(ask_for_turn(session, following))
    else:
        if write.release is not None:
            live = _let_go(session, run, live, write.release, done, rings)
        session.put_live(live)
    return Committed(
        head=live.head,
        now=session.now,
        settled=tuple(settled),
        rings=tuple(rings),
        cancel_asked=live.cancel_asked,
        came=came,
        acquired=acquired,
    )


def _take_next(session: Session, write: Commit, run: RunRow, following: RunRow | None) -> Acquired | None:
    """Let the one who ends a head have the turn of the next one, where that may be."""
    if not write.takes_next or following is None or following.queue != run.queue:
        return None
    if session.live_unless_locked(following.id) is None:
        return None
    answer = acquire(session, Acquire(run_id=following.id, worker=write.worker))
    return answer if isinstance(answer, Acquired) else None


def _held(session: Session, write: Commit) -> LiveRow | None:
    """The run, if the caller holds it."""
    live = session.live(write.run_id)
    return live if live is not None and (live.owner, live.epoch) == (write.worker, write.epoch) else None


def _taken(session: Session, write: Commit, seen: LiveRow) -> LiveRow | None:
    """The run, if it stands as it was seen: free, and with a turn that was due. The turn is taken."""
    live = session.live(write.run_id)
    is_free = seen.owner is None and not seen.begun and seen.head == write.head
    if live != seen or not is_free or not may_move(seen) or seen.status is Status.SCHEDULED:
        return None
    session.drop_task(write.run_id, TURN)
    return attrs.evolve(seen, epoch=seen.epoch + 1, note=None)


def _restart(session: Session, run: RunRow, live: LiveRow, restart: Restarted) -> Committed:
    """End this generation: its history goes, and what stands for its commands with it. The holder stays."""
    session.drop_events(run.id)
    deadline = session.timer(run.id, DEADLINE_TIMER)
    session.drop_work(run.id)
    if deadline is not None:
        session.put_timer(deadline)
    session.append(run.id, 1, [restart])
    live = attrs.evolve(live, head=1, generation=live.generation + 1, lost=0, updated_at=session.now)
    session.put_live(live)
    return Committed(head=1, now=session.now, cancel_asked=live.cancel_asked)


def _hand_over(session: Session, run: RunRow, write: Commit, rings: list[Ring]) -> None:
    for new in write.tasks:
        is_held_back = new.after is not None and session.task(run.id, new.after) is not None
        task = TaskRow(
            run_id=run.id,
            position=new.position,
            queue=new.queue,
            name=new.spec.name,
            ready_at=NEVER if is_held_back else session.now,
            ring_at=NEVER if is_held_back else session.now + (new.quiet or RING_GRACE),
            priority=new.priority,
            spec=new.spec,
            attempt=new.attempt,
            opened=new.attempt if new.opened else 0,
            progress=new.progress,
            progress_at=None if new.progress is None else session.now,
        )
        if new.attempt:
            task = attrs.evolve(
                task, owner=write.worker, began_at=new.began_at or session.now, claimed_at=session.now
            )
        elif not is_held_back and new.quiet is None:
            rings.append(ring_for(task))
        session.put_task(task)
    for position in write.drop_timers:
        session.drop_timer(run.id, position)
    for timer in write.timers:
        session.put_timer(timer)
    fresh = [child for child in write.starts if session.run(child.id) is None]
    rings.extend(ring for child in fresh if (ring := open_run(session, child)) is not None)
    for reopen in write.reopens:
        rings.extend(_reopen(session, reopen))


def _successes_since(session: Session, write: Commit) -> int | None:
    """How many successes have come meanwhile, where a run is only let go of and nothing else has; None otherwise.

    They are what it waits for, so it need not look at each of them: that would hold up a large map.
    """
    only_waits = attrs.evolve(write, drop_timers=(), generation=0, release=None) == Commit(
        run_id=write.run_id, worker=write.worker, epoch=write.epoch, head=write.head
    )
    if write.release is None or write.release.wake_at is not None or not only_waits:
        return None
    came = session.events(write.run_id, write.head or 0)
    are_successes = all(isinstance(event, Resolved) and isinstance(event.outcome, Value) for event in came)
    return len(came) if are_successes else None


def _let_go(
    session: Session, run: RunRow, live: LiveRow, release: Release, done: int, rings: list[Ring]
) -> LiveRow:
    awaiting = max(release.awaiting - done, 0)
    live = attrs.evolve(
        live,
        owner=None,
        begun=False,
        lost=live.lost if release.keep_lost else 0,
        awaiting=awaiting,
        note=release.note,
    )
    if release.wake_at is not None:
        after = max(release.wake_at - session.now, timedelta(0))
        rings.append(ask_for_turn(session, run, after=after, is_owed_none=True))
    elif done and not awaiting:
        rings.append(ask_for_turn(session, run, is_owed_none=True))
    return live


def _reopen(session: Session, reopen: Reopen) -> list[Ring]:
    if session.live(reopen.run_id) is not None:
        return []
    run = session.run(reopen.run_id)
    outcome = session.outcome(reopen.run_id)
    assert run is not None
    assert outcome is not None
    session.drop_outcome(reopen.run_id)
    live = LiveRow(
        run_id=run.id,
        status=Status.COMPENSATING,
        updated_at=session.now,
        head=outcome.head,
        epoch=outcome.epoch,
        generation=outcome.generation,
    )
    _, ring = append(session, live, [Reopened(cause=reopen.cause, at=reopen.at)], wake=True)
    return [ring] if ring is not None else []


def report_to(session: Session, parent: UUID, event: Resolved) -> list[Ring]:
    """Append a sub-workflow's outcome to its parent's history and wake the parent when it is time."""
    live = session.live(parent)
    if live is None:
        return []
    success = not isinstance(event.outcome, Failure)
    _, ring = append(session, live, [event], wake=not success, successes=1)
    return [ring] if ring is not None else []
