"""What an ended sub-workflow tells its parent: its value, its failure, or that it has undone what it did."""

from __future__ import annotations

from qwit_durable.core import Finish, Kind, Resolved, Status, Value
from qwit_durable.engine.hold import Hold
from qwit_durable.errors import Failure

__all__ = ["told_to_parent"]


def told_to_parent(hold: Hold, finish: Finish) -> Resolved:
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
