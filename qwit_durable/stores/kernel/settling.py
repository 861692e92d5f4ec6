"""Ending what nobody waits for any more: commands of a run, one by one or a whole map, and sub-workflows."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import attrs

from qwit_durable.core import CancelRequested, Dropped, Event, Kind, Resolved, Status
from qwit_durable.ids import child_id
from qwit_durable.stores.kernel.lanes import give_up_place
from qwit_durable.stores.kernel.waking import RING_GRACE, append, is_held, may_move
from qwit_durable.stores.reasons import status_before
from qwit_durable.stores.rows import LiveRow, Ring, RunRow
from qwit_durable.stores.session import Session

__all__ = ["cancel_run", "settle"]


def settle(
    session: Session, run: RunRow, generation: int, template: Resolved, rings: list[Ring]
) -> list[Event]:
    """End one command: the events that record it, or none if its outcome has to be waited for."""
    session.drop_timer(run.id, template.position)
    if template.kind is Kind.WORKFLOW:
        child = child_id(run.id, generation, template.position)
        if session.live(child) is None:
            return [template]
        asked = CancelRequested(reason=f"its parent {run.key} no longer waits for it")
        rings.extend(cancel_run(session, child, asked))
        return []
    if template.kind is Kind.MAP:
        return _settle_map(session, run, template)
    task = session.task(run.id, template.position)
    if task is None:
        return [template]
    if is_held(session, task.owner, may_take_over=True):
        session.put_task(attrs.evolve(task, cancelled=True))
        return []
    session.drop_task(run.id, template.position)
    begun = task.attempt > 0 or (isinstance(template.outcome, Dropped) and template.outcome.begun)
    return [attrs.evolve(template, outcome=Dropped(begun=begun))]


def _settle_map(session: Session, run: RunRow, template: Resolved) -> list[Event]:
    """Drop the calls that wait, tell of those that had begun, and count those under way, which are waited for."""
    session.drop_idle_tasks(run.id, template.position)
    events: list[Event] = []
    left = 0
    for task in session.tasks_under(run.id, template.position):
        if is_held(session, task.owner, may_take_over=True):
            session.put_task(attrs.evolve(task, cancelled=True))
            left += 1
            continue
        session.drop_task(run.id, task.position)
        if task.parked_at is not None:
            session.drop_timer(run.id, task.position)
        args = task.spec.args if task.spec is not None else b"null"
        begun = attrs.evolve(
            template, position=task.position, args=args, outcome=Dropped(begun=True), attempt=task.attempt
        )
        events.append(begun)
    return [*events, attrs.evolve(template, outcome=Dropped(begun=True, left=left))]


def cancel_run(
    session: Session, run_id: UUID, event: CancelRequested, *, grace: timedelta = RING_GRACE
) -> list[Ring]:
    """Record a cancel once; the first cause wins.

    One that is stuck is woken: what it is stuck over need not be gone for it to end, unless that is an undo.
    """
    live = session.live(run_id)
    if live is None or live.cancel_asked or _is_unwound(live):
        return []
    give_up_place(session, live)
    live = attrs.evolve(live, cancel_asked=True)
    if live.status is Status.SCHEDULED:
        live = attrs.evolve(live, status=Status.RUNNING)
    elif live.status is Status.STUCK:
        live = attrs.evolve(live, status=status_before(live.reason), reason=None, lost=0)
    live, ring = append(session, live, [event], wake=True, grace=grace)
    return [ring] if ring is not None else []


def _is_unwound(live: LiveRow) -> bool:
    """Whether the run is being undone, or would be if it did not stand still."""
    status = live.status if may_move(live) else status_before(live.reason)
    return status is Status.COMPENSATING
