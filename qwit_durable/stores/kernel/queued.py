"""Queued steps: claiming an attempt, and recording how it went."""

from __future__ import annotations

from uuid import UUID

import attrs

from qwit_durable.core import AttemptFailed, Dropped, Resolved, Status
from qwit_durable.errors import AttemptLost, Failure
from qwit_durable.stores.answers import Accepted, Claimed, Fenced, Refused
from qwit_durable.stores.kernel.waking import RING_GRACE, append, is_held, may_move, ring_for
from qwit_durable.stores.rows import LiveRow, Ring, TaskRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Claim, FailTask, ResolveTask

__all__ = ["claim", "fail_task", "record_lost", "resolve_task"]


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
        _end_cancelled(session, live, task)
        return Refused(reason="ended")
    lost = task.owner is not None
    if lost:
        record_lost(session, live, task)
    task = attrs.evolve(
        task,
        attempt=task.attempt + 1,
        owner=write.worker,
        began_at=task.began_at or session.now,
        claimed_at=session.now,
        ring_at=session.now + write.lease,
    )
    session.put_task(task)
    return Claimed(task=task, run=run, generation=live.generation, now=session.now, lost=lost)


def record_lost(session: Session, live: LiveRow, task: TaskRow) -> None:
    """Record that the attempt under way has gone with nobody to tell how it went."""
    event = AttemptFailed(position=task.position, name=task.name, attempt=task.attempt, failure=_gone(task))
    session.append(task.run_id, live.head + 1, [event])
    session.put_live(attrs.evolve(live, head=live.head + 1, updated_at=session.now))


def _gone(task: TaskRow) -> Failure:
    return Failure.of(AttemptLost(f"the worker that made attempt {task.attempt} of {task.name!r} died in it"))


def _end_cancelled(session: Session, live: LiveRow, task: TaskRow) -> None:
    """Settle a command whose attempt was asked to stop and has gone without an answer: no other attempt follows."""
    assert task.spec is not None
    event = Resolved(
        position=task.position,
        kind=task.spec.kind,
        name=task.name,
        args=task.spec.args,
        outcome=_gone(task) if task.owner is not None else Dropped(begun=task.attempt > 0),
        attempt=task.attempt,
    )
    session.drop_task(task.run_id, task.position)
    append(session, live, [event], wake=True)


def _owned(worker: int, attempt: int, task: TaskRow | None) -> bool:
    return task is not None and task.owner == worker and task.attempt == attempt


def resolve_task(session: Session, write: ResolveTask) -> Accepted | Fenced:
    """Record the outcome; the first one wins."""
    live = session.live(write.run_id)
    task = session.task(write.run_id, write.event.position)
    if live is None or not _owned(write.worker, write.attempt, task):
        return Fenced()
    session.drop_task(write.run_id, write.event.position)
    failed = isinstance(write.event.outcome, Failure)
    _, ring = append(session, live, [write.event], wake=failed, successes=1)
    rings = [] if ring is None else [ring]
    if write.then is not None and not failed:
        rings += _let_begin(session, write.run_id, write.then)
    return Accepted(rings=tuple(rings))


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
    if live is None or task is None or not _owned(write.worker, event.attempt, task):
        return Fenced()
    if task.cancelled:
        assert task.spec is not None
        ended = Resolved(
            position=event.position,
            kind=task.spec.kind,
            name=task.name,
            args=task.spec.args,
            outcome=event.failure,
            attempt=event.attempt,
        )
        return resolve_task(
            session, ResolveTask(worker=write.worker, run_id=write.run_id, attempt=event.attempt, event=ended)
        )
    due = event.retry_at or session.now
    session.put_task(attrs.evolve(task, owner=None, ready_at=due, ring_at=due, rings=0))
    session.append(write.run_id, live.head + 1, [event])
    session.put_live(attrs.evolve(live, head=live.head + 1, updated_at=session.now))
    return Accepted()
