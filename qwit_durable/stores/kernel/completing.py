"""Steps that are left open: completed, ended or timed out from outside, whoever makes or made their attempts.

A step that is left open has a task that nobody owns and that is due at the end of time. A value resolves it at once. A
failure can't: only the step's Retry says what follows. So it is put on the task, which becomes due, and whoever claims
the task decides. While the code of the attempt has not returned yet, its worker keeps the task and learns of the
failure when it parks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs

from qwit_durable.clock import NEVER
from qwit_durable.core import Dropped, Event, Resolved, Value
from qwit_durable.errors import AttemptTimedOut, Failure
from qwit_durable.stores.answers import Accepted, Fenced, Kept, Refused
from qwit_durable.stores.kernel.queued import end_task, owned
from qwit_durable.stores.kernel.waking import may_move, ring_for
from qwit_durable.stores.rows import LiveRow, Ring, TaskRow, TimerRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.task_writes import CompleteTask, KeepSecret, OpenTask, ParkTask, ReportProgress

__all__ = ["complete_task", "expire", "keep_secret", "open_task", "park_task", "report_progress"]


def open_task(session: Session, write: OpenTask) -> Accepted | Fenced:
    """Mark an attempt as open for completion."""
    found = _own(session, write.run_id, write.position, write.worker, write.attempt)
    if found is None:
        return Fenced()
    live, task = found
    session.put_task(attrs.evolve(task, opened=write.attempt))
    return Accepted(cancel_asked=live.cancel_asked or task.cancelled)


def park_task(session: Session, write: ParkTask) -> Accepted | Fenced:
    """Let go of an attempt that is left open; or settle it, or tell how it was ended meanwhile."""
    found = _own(session, write.run_id, write.position, write.worker, write.attempt)
    if found is None:
        return Fenced()
    live, task = found
    if task.cancelled:
        outcome = task.ended or Dropped(begun=True)
        return end_task(session, live, task, outcome, task.attempt)
    if task.ended is not None:
        return Accepted(ended=task.ended)
    session.put_task(
        attrs.evolve(
            task,
            owner=None,
            opened=task.attempt,
            parked_at=session.now,
            ready_at=NEVER,
            ring_at=NEVER,
            rings=0,
        )
    )
    if write.until is not None:
        until = min(write.until, NEVER)
        session.put_timer(
            TimerRow(run_id=write.run_id, position=write.position, fire_at=until, kind="expire")
        )
    return Accepted(cancel_asked=live.cancel_asked)


def report_progress(session: Session, write: ReportProgress) -> Accepted | Fenced:
    """Take down how far an attempt has come."""
    found = _own(session, write.run_id, write.position, write.worker, write.attempt)
    if found is None:
        return Fenced()
    live, task = found
    session.put_task(attrs.evolve(task, progress=write.detail, progress_at=session.now))
    return Accepted(cancel_asked=live.cancel_asked or task.cancelled)


def _own(
    session: Session, run_id: UUID, position: str, worker: int, attempt: int
) -> tuple[LiveRow, TaskRow] | None:
    """The run and the task of an attempt that a worker still owns."""
    live = session.live(run_id)
    task = session.task(run_id, position)
    if live is None or task is None or not owned(worker, attempt, task):
        return None
    return live, task


def complete_task(session: Session, write: CompleteTask) -> Accepted | Refused:
    """Take a value or the end of an attempt from outside."""
    live = session.live(write.run_id)
    if live is not None and live.generation != write.generation:
        return Refused(reason="restarted", status=live.status)
    task = None if live is None else session.task(write.run_id, write.position)
    if live is None or task is None:
        return _too_late(session, write, live)
    if isinstance(write.outcome, Value):
        return end_task(session, live, task, write.outcome, write.attempt)
    is_open = task.parked_at is not None or task.owner is not None
    if write.attempt < task.attempt or not is_open or task.ended is not None:
        return Accepted(repeated=True)
    if task.parked_at is None:
        session.put_task(attrs.evolve(task, ended=write.outcome))
        return Accepted()
    session.drop_timer(task.run_id, task.position)
    task = attrs.evolve(
        task,
        ended=write.outcome,
        parked_at=None,
        ready_at=session.now,
        ring_at=session.now + write.ring_after,
    )
    session.put_task(task)
    return Accepted(rings=(ring_for(task),) if may_move(live) else ())


def _too_late(session: Session, write: CompleteTask, live: LiveRow | None) -> Accepted | Refused:
    """The step has its outcome, or its run has none of it any more: say which."""
    run = session.run(write.run_id)
    if run is None:
        return Refused(reason="missing")
    outcome = session.outcome(write.run_id)
    status = live.status if live is not None else outcome.status if outcome is not None else None
    if outcome is not None and outcome.generation != write.generation:
        return Refused(reason="restarted", status=status)
    told = _outcome_at(session.events(write.run_id, 0), write.position)
    is_failure = isinstance(write.outcome, Failure)
    match told:
        case Value() if is_failure:
            return Refused(reason="completed", status=status)
        case Failure() if not is_failure:
            return Refused(reason="failed", status=status, failure=told)
        case Value() | Failure():
            return Accepted(repeated=True)
        case Dropped():
            return Refused(reason="settled", status=status)
        case None:
            return Refused(reason="ended" if live is None else "settled", status=status)


def _outcome_at(events: Sequence[Event], position: str) -> Value | Failure | Dropped | None:
    for event in events:
        if isinstance(event, Resolved) and event.position == position:
            return event.outcome
    return None


def expire(session: Session, live: LiveRow, position: str) -> Ring | None:
    """The deadline of a step that is left open has passed: it has failed for good."""
    task = session.task(live.run_id, position)
    if task is None or task.parked_at is None:
        return None
    late = AttemptTimedOut(
        f"step {task.name!r}: its deadline passed while attempt {task.attempt} waited for its completion"
    )
    answer = end_task(session, live, task, Failure.of(late), task.attempt)
    return next(iter(answer.rings), None)


def keep_secret(session: Session, write: KeepSecret) -> Kept:
    """Answer the secret that stands, or keep this one."""
    found = session.secret(write.name)
    if found is None:
        session.put_secret(write.name, write.value)
    return Kept(value=found or write.value)
