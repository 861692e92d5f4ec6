"""The end of a run, and what an ended sub-workflow tells its parent: its value, its failure, or that it has undone.

And the plan of what is undone before such an end.
"""

from __future__ import annotations

import attrs

from qwit_durable.core import Completed, Finish, Kind, Resolved, Status, Unwind, UnwindStarted, Value
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.engine.turning.onward import Slice
from qwit_durable.errors import Failure
from qwit_durable.observers.base import EndInfo
from qwit_durable.stores.answers import Committed
from qwit_durable.stores.rows import OutcomeRow
from qwit_durable.stores.writes import Report

__all__ = ["ending", "finish", "write_down"]


def write_down(services: Services, hold: Hold, unwind: Unwind) -> None:
    """Record a plan of owed undos, of the run or of a scope of its body."""
    hold.record(UnwindStarted(cause=unwind.cause, plan=unwind.plan, scope=unwind.scope))
    if unwind.scope is None:
        hold.move_to(Status.COMPENSATING)
    told = hold.run, unwind.cause, [debt.name for debt in unwind.plan]
    hold.after_commit(lambda: services.observers.tell("unwinding", *told))


def finish(services: Services, hold: Hold, end: Finish, slice_: Slice) -> Pieces[None]:
    """End a run: its outcome, what its parent is told, and with whom its lane goes on, in one transition."""
    outcome, report = ending(services, hold, end)
    write = hold.transition(outcome=outcome, report=report)
    if hold.run.lane is not None and not slice_.is_over:
        write = attrs.evolve(write, takes_next=True)
    answer = yield write
    if isinstance(answer, Committed):
        hold.following = answer.acquired
    hold.answered(answer, write)
    services.run_ended(hold.run.id)


def ending(services: Services, hold: Hold, end: Finish) -> tuple[OutcomeRow, Report | None]:
    """What the transition that ends a run has to hold; observers are told of it once it is durable."""
    run = hold.run
    if end.status is Status.COMPLETED and run.parent_id is not None and end.owed:
        hold.record(Completed(value=end.value or b"null", owed=end.owed))
    report = None
    if run.parent_id is not None:
        report = Report(run_id=run.parent_id, event=_told_to_parent(hold, end))
    now = hold.now()
    info = EndInfo(
        run=run,
        status=end.status,
        ended_at=now,
        failure=end.failure,
        undone=end.undone,
        reopened=hold.interpreter.was_reopened,
    )
    hold.after_commit(lambda: services.observers.tell("run_finished", info))
    outcome = OutcomeRow(
        run_id=run.id,
        status=end.status,
        ended_at=now,
        value=end.value,
        failure=end.failure,
        undone=end.undone,
    )
    return outcome, report


def _told_to_parent(hold: Hold, finish: Finish) -> Resolved:
    """The event that is appended to the parent's history."""
    run = hold.run
    position = run.parent_position or ""
    if hold.interpreter.was_reopened:
        return Resolved(
            position=hold.interpreter.reopened_at, kind=Kind.UNDO, name=run.workflow, outcome=Value()
        )
    if finish.status is Status.COMPLETED:
        value = Value(finish.value or b"null")
        owes = bool(finish.owed)
        return Resolved(
            position=position, kind=Kind.WORKFLOW, name=run.workflow, args=run.args, outcome=value, owes=owes
        )
    failure = finish.failure or Failure(type="WorkflowFailed", message=finish.status.value)
    return Resolved(position=position, kind=Kind.WORKFLOW, name=run.workflow, args=run.args, outcome=failure)
