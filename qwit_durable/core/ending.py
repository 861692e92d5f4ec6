"""How a run ends: with the body's value, with a cause, or not at all because the body begins anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from qwit_durable.core.body import Restarting
from qwit_durable.core.decision import Decision, Finish, Unwind
from qwit_durable.core.events import CancelRequested, Cause, Debt, OperatorActed
from qwit_durable.core.frames import Raised, Returned
from qwit_durable.core.status import Status
from qwit_durable.errors import DeadlineExceeded, Failure, RolledBack, WorkflowCancelled

__all__ = ["Ending", "cancelled", "conclusion", "late", "of_body", "rolled_back"]


@attrs.frozen
class Ending:
    """What is to become of the run once everything open has settled.

    `is_asked`: somebody wants it so, whatever the body says, or can't say any more.
    """

    value: bytes | None = None
    cause: Cause | None = None
    compensate: bool = True
    restart: bytes | None = None
    is_asked: bool = False


def of_body(end: Returned | Raised | Restarting, encode: Callable[[Any], bytes]) -> Ending:
    """The body has ended by itself."""
    match end:
        case Raised(error=error):
            return Ending(cause=Cause(failure=Failure.of(error)))
        case Restarting(args=args):
            return Ending(restart=args)
        case Returned(value=value):
            try:
                return Ending(value=encode(value))
            except Exception as error:  # noqa: BLE001 - as if the body's last line had raised it
                return Ending(cause=Cause(failure=Failure.of(error)))


def cancelled(event: CancelRequested, workflow: str) -> Ending:
    """Somebody asked the run to stop."""
    failure = Failure.of(WorkflowCancelled("", workflow, None))
    failure = attrs.evolve(failure, message=event.reason or "cancelled")
    cause = Cause(failure=failure, cancelled=True)
    return Ending(cause=cause, compensate=event.compensate, is_asked=True)


def rolled_back(event: OperatorActed, first: Cause | None) -> Ending:
    """An operator wants what the run did undone; where it had failed already, that stays the cause."""
    cause = Cause(failure=Failure.of(RolledBack(event.reason or "rolled back by an operator")))
    return Ending(cause=first or cause, is_asked=True)


def late(workflow: str) -> Ending:
    """The run's deadline has passed."""
    error = DeadlineExceeded(f"the deadline of workflow {workflow!r} has passed")
    return Ending(cause=Cause(failure=Failure.of(error)), is_asked=True)


def conclusion(ending: Ending, plan: tuple[Debt, ...], *, is_child: bool) -> Decision:
    """What follows, once everything has settled. `plan` is what is owed, newest first."""
    if ending.cause is None:
        return Finish(status=Status.COMPLETED, value=ending.value, owed=plan if is_child else ())
    if plan and ending.compensate:
        return Unwind(cause=ending.cause, plan=plan)
    status = Status.CANCELLED if ending.cause.cancelled else Status.FAILED
    return Finish(status=status, failure=ending.cause.failure)
