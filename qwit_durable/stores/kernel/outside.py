"""What comes from outside: signals, cancels and operators' verbs, each allowed by the table `core.status.VERBS`."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import attrs

from qwit_durable.core import (
    VERBS,
    CancelRequested,
    Kind,
    OperatorActed,
    Reopened,
    Resolved,
    SignalReceived,
    Status,
    Verb,
)
from qwit_durable.errors import Failure, WorkflowTerminated
from qwit_durable.stores.answers import Accepted, Refused
from qwit_durable.stores.kernel.lanes import START_TIMER, give_up_place, has_place, leave_lane
from qwit_durable.stores.kernel.settling import cancel_run
from qwit_durable.stores.kernel.turns import report_to
from qwit_durable.stores.kernel.waking import append, ask_for_turn, may_move
from qwit_durable.stores.reasons import Reason, is_over_code, status_before
from qwit_durable.stores.rows import TURN, LiveRow, OutcomeRow, Ring, RunRow, TaskRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Deliver

__all__ = ["deliver"]


def deliver(session: Session, write: Deliver) -> Accepted | Refused:
    """Record what was asked, or refuse it by the run's status."""
    live = session.live(write.run_id)
    verb = _verb(write)
    if live is None:
        return _refuse_ended(session, write, verb)
    if live.status not in VERBS[verb]:
        if _has_acted(session, write.run_id, verb):
            return Accepted(repeated=True)
        return Refused(reason="status", status=live.status)
    match write.event:
        case SignalReceived(dedupe_id=dedupe_id):
            if dedupe_id is not None and not session.is_new_signal(write.run_id, dedupe_id):
                return Accepted(repeated=True)
            owed = session.task(write.run_id, TURN)
            _, ring = append(session, live, [write.event], wake=True, grace=write.ring_after)
            is_rung = owed is not None and _is_rung(session, owed, write)
            return Accepted(rings=(ring,) if ring is not None and not is_rung else ())
        case CancelRequested():
            rings = cancel_run(session, write.run_id, write.event, grace=write.ring_after)
            return Accepted(rings=tuple(rings), repeated=live.cancel_asked)
        case OperatorActed():
            return _operate(session, live, write.event, write.ring_after)


def _is_rung(session: Session, owed: TaskRow, write: Deliver) -> bool:
    """Whether a bell for the turn that is owed was rung a moment ago: one more would be a second look at the run."""
    return owed.ready_at < session.now < owed.ring_at < session.now + write.ring_after


def _verb(write: Deliver) -> Verb:
    match write.event:
        case SignalReceived():
            return Verb.SIGNAL
        case CancelRequested():
            return Verb.CANCEL
        case OperatorActed(verb=verb):
            return verb


def _refuse_ended(session: Session, write: Deliver, verb: Verb) -> Accepted | Refused:
    outcome = session.outcome(write.run_id)
    if outcome is None:
        return Refused(reason="missing")
    match write.event:
        case SignalReceived(dedupe_id=dedupe_id):
            repeated = dedupe_id is not None and session.knows_signal(write.run_id, dedupe_id)
        case CancelRequested():
            repeated = outcome.status is Status.CANCELLED
        case OperatorActed(verb=Verb.TERMINATE):
            repeated = outcome.status is Status.TERMINATED
        case OperatorActed():
            repeated = _has_acted(session, write.run_id, verb)
    return Accepted(repeated=True) if repeated else Refused(reason="ended", status=outcome.status)


def _has_acted(session: Session, run_id: UUID, verb: Verb) -> bool:
    """Whether the last thing that a person did to the run is what is asked again: whoever got no answer asks twice."""
    acts = (event for event in reversed(session.events(run_id, 0)) if isinstance(event, OperatorActed))
    return getattr(next(acts, None), "verb", None) is verb


def _operate(session: Session, live: LiveRow, event: OperatorActed, grace: timedelta) -> Accepted | Refused:
    run = session.run(live.run_id)
    assert run is not None
    match event.verb:
        case Verb.SKIP if is_over_code(live.reason):
            return Refused(reason="code", status=live.status)
        case Verb.RETRY | Verb.SKIP:
            resumed = status_before(live.reason)
            live = attrs.evolve(live, status=resumed, reason=None, lost=0, owner=None, begun=False)
            _, ring = append(session, live, [event], wake=True, grace=grace)
            return Accepted(rings=(ring,) if ring is not None else ())
        case Verb.PAUSE:
            if live.status is Status.PAUSED:
                return Accepted(repeated=True)
            reason = Reason(kind="operator", text=event.reason or "paused by an operator", was=live.status)
            live = attrs.evolve(live, status=Status.PAUSED, reason=reason.encode())
            append(session, live, [event], wake=True, grace=grace)
            return Accepted()
        case Verb.RESUME:
            if live.status is not Status.PAUSED:
                return Accepted(repeated=True)
            live = attrs.evolve(live, status=_status_to_resume(session, run, live), reason=None)
            live, ring = append(session, live, [event], wake=True, grace=grace)
            return Accepted(rings=(ring,) if ring is not None else ())
        case Verb.TERMINATE:
            _terminate(session, run, live, event)
            rings = _tell_parent(session, run, live, event)
            if (following := leave_lane(session, run)) is not None:
                rings.append(ask_for_turn(session, following))
            return Accepted(rings=tuple(rings))
        case Verb.ROLLBACK:
            return _roll_back(session, run, live, event, grace)
        case Verb.SIGNAL | Verb.CANCEL:
            return Accepted()


def _roll_back(
    session: Session, run: RunRow, live: LiveRow, event: OperatorActed, grace: timedelta
) -> Accepted:
    """Let the run be undone from where it stands. One that is being undone goes on with that, as after a retry."""
    stands_still = not may_move(live)
    if live.cancel_asked and not stands_still:
        return Accepted(repeated=True)
    give_up_place(session, live)
    status = live.status
    if status is Status.STUCK:
        status = status_before(live.reason)
    elif status is Status.PAUSED:
        status = _status_to_resume(session, run, live)
    if status is Status.SCHEDULED:
        status = Status.RUNNING  # it ends without having begun
    live = attrs.evolve(
        live,
        status=status,
        reason=None,
        lost=0 if stands_still else live.lost,
        cancel_asked=live.cancel_asked or status is Status.RUNNING,
    )
    _, ring = append(session, live, [event], wake=True, grace=grace)
    return Accepted(rings=(ring,) if ring is not None else ())


def _status_to_resume(session: Session, run: RunRow, live: LiveRow) -> Status:
    was = status_before(live.reason)
    if was is not Status.SCHEDULED:
        return was
    # What made a scheduled run begin while it was paused has left no other trace: its timer, or its place, is gone.
    is_waiting = session.timer(run.id, START_TIMER) is not None or has_place(session, run)
    return Status.SCHEDULED if is_waiting else Status.RUNNING


def _terminate(session: Session, run: RunRow, live: LiveRow, event: OperatorActed) -> None:
    """End a run and everything below it where it stands."""
    for child in session.open_children(run.id):
        child_run, child_live = session.run(child), session.live(child)
        if child_run is not None and child_live is not None:
            _terminate(session, child_run, child_live, event)
    session.append(run.id, live.head + 1, [event])
    outcome = OutcomeRow(
        run_id=run.id,
        status=Status.TERMINATED,
        ended_at=session.now,
        failure=_terminated(run, event),
        epoch=live.epoch,
        head=live.head + 1,
        generation=live.generation,
    )
    session.put_outcome(outcome)
    session.drop_live(run.id)
    session.drop_work(run.id)


def _terminated(run: RunRow, event: OperatorActed) -> Failure:
    failure = Failure.of(WorkflowTerminated(run.key, run.workflow, None))
    return attrs.evolve(failure, message=event.reason or "terminated")


def _tell_parent(session: Session, run: RunRow, live: LiveRow, event: OperatorActed) -> list[Ring]:
    if run.parent_id is None or run.parent_position is None:
        return []
    undoing = live.status is Status.COMPENSATING
    told = Resolved(
        position=_asked_at(session, run) if undoing else run.parent_position,
        kind=Kind.UNDO if undoing else Kind.WORKFLOW,
        name=run.workflow,
        args=b"null" if undoing else run.args,
        outcome=_terminated(run, event),
    )
    return report_to(session, run.parent_id, told)


def _asked_at(session: Session, run: RunRow) -> str:
    """Where in its parent's history a reopened run was asked to undo what it did."""
    asked = [event.at for event in session.events(run.id, 0) if isinstance(event, Reopened)]
    return asked[-1] if asked else ""
