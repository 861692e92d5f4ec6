"""Queued steps: claiming an attempt, and recording how it went."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from qwit_durable.core import AttemptFailed, Dropped, Outcome, Resolved, Status, Value
from qwit_durable.errors import AttemptLost, Failure
from qwit_durable.stores.answers import Accepted, Acquired, Claimed, Committed, Fenced, Refused, Standing
from qwit_durable.stores.kernel.turns import acquire, commit
from qwit_durable.stores.kernel.waking import RING_GRACE, append, is_held, may_move, ring_for
from qwit_durable.stores.rows import TURN, LiveRow, Ring, TaskRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Claim, FailTask, LeaveTask, ResolveTask, Unclaim

__all__ = [
    "MOST_UNKNOWN",
    "claim",
    "end_task",
    "fail_task",
    "gone",
    "leave_task",
    "owned",
    "record_lost",
    "resolve_task",
    "unclaim",
    "unclaimed",
]

#: A longer history than that does not come with a claim.
MOST_UNKNOWN = 100


def claim(session: Session, write: Claim) -> Claimed | Refused:
    """Grant or refuse an attempt: granting counts it, before any of the user's code runs."""
    live = session.live(write.run_id)
    task = session.task(write.run_id, write.position)
    run = session.run(write.run_id)
    if live is None or task is None or run is None:
        return Refused(reason="ended" if run is not None else "missing")
    if not may_move(live):
        return Refused(reason="paused" if live.status is Status.PAUSED else "stuck", status=live.status)
    if is_held(session, task.owner, may_take_over=write.may_take_over):
        return Refused(reason="held")
    if task.ready_at > session.now:
        return Refused(reason="early")
    if task.cancelled:
        dropped = gone(task) if task.owner is not None else Dropped(begun=task.attempt > 0)
        end_task(session, live, task, task.ended or dropped, task.attempt)
        return Refused(reason="ended")
    # An attempt that was ended from outside is decided about, not made.
    is_over = task.ended is not None
    lost = task.owner is not None and not is_over
    if lost and not write.lost_too:
        return Refused(reason="lost", status=live.status, ring=ring_for(task))
    if lost:
        record_lost(session, live, task)
    task = attrs.evolve(
        task,
        attempt=task.attempt + (not is_over),
        owner=write.worker,
        began_at=task.began_at or session.now,
        claimed_at=task.claimed_at if is_over else session.now,
        ring_at=session.now + write.lease,
        note=None,
    )
    session.put_task(task)
    standing = None if lost else _standing(session, live, write)
    return Claimed(
        task=task, run=run, generation=live.generation, now=session.now, lost=lost, standing=standing
    )


def _standing(session: Session, live: LiveRow, write: Claim) -> Standing | None:
    """How the run stands, if the outcome of this attempt makes its turn due."""
    if write.turn is None or live.owner is not None or live.awaiting > 1 or live.status is Status.SCHEDULED:
        return None
    known = write.turn.after if write.turn.generation == live.generation else 0
    if live.head - known > MOST_UNKNOWN:
        return None
    events = tuple(session.events(write.run_id, known)) if live.head > known else ()
    return Standing(head=live.head, status=live.status, events=events)


def leave_task(session: Session, write: LeaveTask) -> Accepted:
    """Take down why a worker could not make an attempt, if nobody has begun it meanwhile."""
    live = session.live(write.run_id)
    task = session.task(write.run_id, write.position)
    if live is None or task is None or task.owner is not None or task.note == write.note:
        return Accepted(repeated=True)
    session.put_task(attrs.evolve(task, note=write.note))
    return Accepted()


def unclaim(session: Session, write: Unclaim) -> Accepted | Fenced:
    """Let somebody else begin the attempt under the same number."""
    task = session.task(write.run_id, write.position)
    if task is None or not owned(write.worker, write.attempt, task):
        return Fenced()
    session.put_task(unclaimed(task, session.now))
    return Accepted(rings=(ring_for(task),))


def unclaimed(task: TaskRow, now: datetime) -> TaskRow:
    """A task whose attempt never was."""
    return attrs.evolve(task, owner=None, attempt=task.attempt - 1, ring_at=now, rings=0)


def record_lost(session: Session, live: LiveRow, task: TaskRow) -> None:
    """Record that the attempt under way has gone with nobody to tell how it went."""
    event = AttemptFailed(position=task.position, name=task.name, attempt=task.attempt, failure=gone(task))
    session.append(task.run_id, live.head + 1, [event])
    session.put_live(attrs.evolve(live, head=live.head + 1, updated_at=session.now))


def gone(task: TaskRow) -> Failure:
    """How an attempt ended at which nobody works any more."""
    return Failure.of(AttemptLost(f"the worker that made attempt {task.attempt} of {task.name!r} died in it"))


def end_task(session: Session, live: LiveRow, task: TaskRow, outcome: Outcome, attempt: int) -> Accepted:
    """Record a task's outcome, whoever owns it: no other attempt follows."""
    assert task.spec is not None
    event = Resolved(
        position=task.position,
        kind=task.spec.kind,
        name=task.name,
        args=task.spec.args,
        outcome=outcome,
        attempt=attempt,
    )
    return _resolve(session, live, task, event)


def _resolve(session: Session, live: LiveRow, task: TaskRow, event: Resolved) -> Accepted:
    session.drop_task(task.run_id, task.position)
    if task.parked_at is not None:
        session.drop_timer(task.run_id, task.position)
    wake = not isinstance(event.outcome, Value)
    live, ring = append(session, live, [event], wake=wake, successes=1)
    rings = [] if ring is None else [ring]
    if task.spec is not None and task.spec.then is not None and not wake:
        rings += _let_begin(session, task.run_id, task.spec.then)
    return Accepted(rings=tuple(rings), head=live.head)


def owned(worker: int, attempt: int, task: TaskRow | None) -> bool:
    """Whether an attempt is still this worker's."""
    return task is not None and task.owner == worker and task.attempt == attempt


def resolve_task(session: Session, write: ResolveTask) -> Accepted | Fenced:
    """Record the outcome; the first one wins. Whoever wants to takes the turn that it makes due, or has taken it."""
    live = session.live(write.run_id)
    task = session.task(write.run_id, write.event.position)
    if live is None or task is None or not owned(write.worker, write.attempt, task):
        return Fenced()
    done = _resolve(session, live, task, write.event)
    if write.turn is None or not any(ring.position == TURN for ring in done.rings):
        return done
    acquired = acquire(session, write.turn)
    assert isinstance(acquired, Acquired)
    rings = tuple(ring for ring in done.rings if ring.position != TURN)
    then, live = write.then, acquired.live
    if then is None or (then.head, then.generation) != (live.head, live.generation):
        return attrs.evolve(done, rings=rings, acquired=acquired)
    committed = commit(session, attrs.evolve(then, epoch=live.epoch))
    assert isinstance(committed, Committed)
    return attrs.evolve(done, rings=rings, committed=committed)


def _let_begin(session: Session, run_id: UUID, position: str) -> list[Ring]:
    """Make a task due that was held back; it may have been dropped meanwhile."""
    task = session.task(run_id, position)
    if task is None:
        return []
    task = attrs.evolve(task, ready_at=session.now, ring_at=session.now + RING_GRACE)
    session.put_task(task)
    return [ring_for(task)]


def fail_task(session: Session, write: FailTask) -> Accepted | Fenced:
    """Record a failed attempt; no other follows if the command is being settled."""
    event = write.event
    live = session.live(write.run_id)
    task = session.task(write.run_id, event.position)
    if live is None or task is None or not owned(write.worker, event.attempt, task):
        return Fenced()
    if task.cancelled:
        return end_task(session, live, task, event.failure, event.attempt)
    due = event.retry_at or session.now
    task = attrs.evolve(task, owner=None, ready_at=due, ring_at=due, rings=0, ended=None)
    if write.progress is not None:
        task = attrs.evolve(task, progress=write.progress, progress_at=session.now)
    session.put_task(task)
    session.append(write.run_id, live.head + 1, [event])
    session.put_live(attrs.evolve(live, head=live.head + 1, updated_at=session.now))
    return Accepted(head=live.head + 1)
