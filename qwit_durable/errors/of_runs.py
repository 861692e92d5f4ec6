"""What callers see: how a run ended, and what can't be asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwit_durable.errors.at_import import DurableError
from qwit_durable.errors.failure import Failure

if TYPE_CHECKING:
    from qwit_durable.client import Handle

__all__ = [
    "HistoryMismatch",
    "InvalidToken",
    "OperationRefused",
    "RunAlreadyExists",
    "RunFailed",
    "RunNotFound",
    "RunStuck",
    "ScheduleNotFound",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowTerminated",
]


class RunFailed(DurableError):
    """Base of the errors that `Handle.result()` raises for a run that gave no value.

    Attributes:
        run_id: The run.
        cause: The recorded `Failure` that decided the run, or None.
        undone: Names of the undos that ran, in the order in which they ran.

    >>> try:
    ...     declined.start(order).result()
    ... except RunFailed as failed:
    ...     print(failed.run_id, failed.workflow, failed.cause.root.message)
    run-1 declined the card for order-17 was declined
    """

    _verb = "failed"

    def __init__(
        self, run_id: str, workflow: str, cause: Failure | None, undone: tuple[str, ...] = ()
    ) -> None:
        self.run_id = run_id
        self.workflow = workflow
        self.cause = cause
        self.undone = undone
        super().__init__(run_id, workflow, cause, undone)

    def __str__(self) -> str:
        why = f": {self.cause}" if self.cause else ""
        undone = f"; undone: {', '.join(self.undone)}" if self.undone else ""
        return f"run {self.run_id} of workflow {self.workflow!r} {self._verb}{why}{undone}"


class WorkflowFailed(RunFailed):
    """The run failed. What it owed has been undone.

    >>> declined.start(order).result()
    Traceback (most recent call last):
    qwit_durable.errors.WorkflowFailed: run run-1 of workflow 'declined' failed: StepFailed: ...
    """


class WorkflowCancelled(RunFailed):
    """The run was cancelled.

    >>> handle = approval.start(order)
    >>> handle.cancel("nobody answers")
    >>> handle.result()
    Traceback (most recent call last):
    qwit_durable.errors.WorkflowCancelled: run run-1 of workflow 'approval' was cancelled: ...
    """

    _verb = "was cancelled"


class WorkflowTerminated(RunFailed):
    """The run was terminated where it stood: nothing was undone.

    >>> handle = approval.start(order)
    >>> handle.terminate("a test order")
    >>> handle.result()
    Traceback (most recent call last):
    qwit_durable.errors.WorkflowTerminated: run run-1 of workflow 'approval' was terminated: ...
    """

    _verb = "was terminated"


class RunStuck(RunFailed):
    """The run needs a person. `reason` says why; `Handle.explain()` says which verbs help.

    >>> @workflow
    ... def forgetful() -> Workflow[str]:
    ...     charge("order-17", 500)
    ...     return (yield from pack("tea"))
    >>> forgetful.start().result()
    Traceback (most recent call last):
    qwit_durable.errors.RunStuck: run run-1 of workflow 'forgetful' can't go on: ...
    ...
    """

    _verb = "is stuck"
    reason: str = ""

    def __str__(self) -> str:
        names_the_run = self.reason.startswith(f"run {self.run_id} of workflow {self.workflow!r} ")
        if names_the_run:
            return self.reason
        return f"{super().__str__()}\n{self.reason}" if self.reason else super().__str__()


class RunNotFound(DurableError, LookupError):
    """No run of that id is in this store and namespace.

    >>> Durable("memory://").get("order-17")
    Traceback (most recent call last):
    qwit_durable.errors.RunNotFound: no run 'order-17' in namespace 'default' of memory://
    ...
    """


class ScheduleNotFound(DurableError, LookupError):
    """No schedule of that id is in this store and namespace. `durable.schedules()` lists those there are.

    >>> Durable("memory://").get_schedule("nightly")
    Traceback (most recent call last):
    qwit_durable.errors.ScheduleNotFound: no schedule 'nightly' in namespace 'default'
    ...
    """


class RunAlreadyExists(DurableError):
    """A run of that id exists with another input, or is still open. Choose another id or another `on_conflict`.

    Attributes:
        refused: The ids that stand for other runs; of `start`, the one.
        handles: Of `start_many`: the handles of those that are started, in order, with None for each that is refused.

    >>> first = checkout.options(id="order-17").start(order)
    >>> checkout.options(id="order-17").start(Order("order-18"))
    Traceback (most recent call last):
    qwit_durable.errors.RunAlreadyExists: run 'order-17' exists already: workflow 'checkout', completed, with ...
    ...
    """

    def __init__(
        self, message: str, *, refused: tuple[str, ...] = (), handles: tuple[Handle[Any] | None, ...] = ()
    ) -> None:
        self.refused = refused
        self.handles = handles
        super().__init__(message)


class InvalidToken(DurableError, ValueError):
    """This is no token of this store: cut, changed, invented, or another store's. Nothing was recorded.

    >>> durable = Durable("memory://")
    >>> durable.complete("made up", "yes")
    Traceback (most recent call last):
    qwit_durable.errors.InvalidToken: ...
    """


class HistoryMismatch(DurableError):
    """A saved history does not match today's code: a worker would leave a run like it stuck.

    Attributes:
        position: The command that does not match, or None where the whole does not.

    >>> from qwit_durable.testing.replay import replay, save_history
    >>> saved = save_history(checkout.start(order))
    >>> replay(checkout, saved)
    """

    def __init__(self, message: str, position: str | None = None) -> None:
        self.position = position
        super().__init__(message)


class OperationRefused(DurableError):
    """The run's status does not allow this. The message names the status and what is possible in it.

    >>> checkout.start(order).cancel("too late")
    Traceback (most recent call last):
    qwit_durable.errors.OperationRefused: run run-1 is completed: it can't be asked to cancel
    ...
    """
