"""Every error of the library, in one tree under `DurableError`.

A message has four parts: what happened to which run; the evidence; the likely cause; the ways out. The facts are
attributes too, so that no program has to parse a text. `Failure` is an error as data: what the store keeps of an
exception, never the exception itself and never a class loaded by a stored name.

This module imports nothing of the package.
"""

from __future__ import annotations

from qwit_durable.errors.at_import import (
    AmbiguousDurable,
    DefinitionError,
    DurableError,
    NotRunningError,
    UnknownName,
)
from qwit_durable.errors.failure import Failure, class_name, describe
from qwit_durable.errors.of_runs import (
    HistoryMismatch,
    InvalidToken,
    OperationRefused,
    RunAlreadyExists,
    RunFailed,
    RunNotFound,
    RunStuck,
    ScheduleNotFound,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowTerminated,
)
from qwit_durable.errors.of_stores import PayloadError, SchemaMismatch, StoreError, StoreUnavailable

__all__ = [
    "AmbiguousDurable",
    "AttemptLost",
    "AttemptTimedOut",
    "ChildFailed",
    "DeadlineExceeded",
    "DefinitionError",
    "DurableError",
    "EncodingError",
    "Failure",
    "GiveUp",
    "HistoryMismatch",
    "InvalidToken",
    "MisuseError",
    "NotRunningError",
    "OperationRefused",
    "PayloadError",
    "RaceLost",
    "RolledBack",
    "RunAlreadyExists",
    "RunFailed",
    "RunNotFound",
    "RunStuck",
    "ScheduleNotFound",
    "SchemaMismatch",
    "SignalTimeout",
    "StepFailed",
    "StoreError",
    "StoreUnavailable",
    "UnknownName",
    "Veto",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowTerminated",
    "class_name",
    "describe",
]


# -- inside bodies and steps -----------------------------------------------------------------------------------


class StepFailed(DurableError):
    """A step has failed for good; raised at the `yield` that asked for it.

    Attributes:
        step: Name of the step.
        error: The recorded `Failure` of its last attempt.
        attempts: How many attempts there were; 0 if a guard did not let it begin.
        outcome_unknown: True when the last attempt may have had its effect all the same.
        by_deadline: True when the step's `deadline` left no time for another attempt.

    >>> try:
    ...     yield from decline(order.id)
    ... except StepFailed as failed:
    ...     label = f"after {failed.attempts} attempt: {failed.error.message}"
    >>> label
    'after 1 attempt: the card for order-17 was declined'
    """

    def __init__(self, step: str, error: Failure, attempts: int = 1) -> None:
        self.step = step
        self.error = error
        self.attempts = attempts
        super().__init__(step, error, attempts)

    @property
    def outcome_unknown(self) -> bool:
        return self.error.outcome_unknown

    @property
    def by_deadline(self) -> bool:
        return self.error.by_deadline

    def __str__(self) -> str:
        if not self.attempts:
            return f"step {self.step!r} was not let begin: {self.error}"
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        doubt = " (it may have had its effect all the same)" if self.outcome_unknown else ""
        late = "; its deadline left no time for another" if self.by_deadline else ""
        return f"step {self.step!r} failed after {tries}{late}: {self.error}{doubt}"


class ChildFailed(DurableError):
    """A sub-workflow ended without a value, after undoing what it did; raised at the `yield` that called it.

    Attributes:
        workflow: Name of the sub-workflow.
        error: Its recorded `Failure`.

    >>> try:
    ...     yield from declined(order)
    ... except ChildFailed as failed:
    ...     label = f"{failed.workflow}: {failed.error.root.message}"
    >>> label
    'declined: the card for order-17 was declined'
    """

    def __init__(self, workflow: str, error: Failure) -> None:
        self.workflow = workflow
        self.error = error
        super().__init__(workflow, error)

    def __str__(self) -> str:
        return f"sub-workflow {self.workflow!r} failed: {self.error}"


class SignalTimeout(DurableError, TimeoutError):
    """`wait_signal` waited as long as it was told to and no signal of that name came.

    >>> try:
    ...     yield from wait_signal("paid", timeout=timedelta(days=2))
    ... except SignalTimeout:
    ...     yield from release(reservation.id)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"no signal {self.name!r} came in time"


class DeadlineExceeded(DurableError, TimeoutError):
    """The deadline of the run has passed before it ended.

    >>> late = approval.options(deadline=timedelta(hours=1)).start(order)
    >>> try:
    ...     late.result()
    ... except WorkflowFailed as failed:
    ...     print(failed.cause.is_a(DeadlineExceeded))
    True
    """


class AttemptTimedOut(DurableError, TimeoutError):
    """One attempt of a step took longer than its `timeout`. Its effect may have happened.

    >>> try:
    ...     payment = yield from charge(order.id, order.cents)
    ... except StepFailed as failed:
    ...     if failed.error.is_a(AttemptTimedOut):  # or failed.outcome_unknown
    ...         yield from release(reservation.id)
    """

    outcome_unknown = True


class AttemptLost(DurableError):
    """The worker that made an attempt died in it. Its effect may have happened.

    >>> try:
    ...     payment = yield from charge(order.id, order.cents)
    ... except StepFailed as failed:
    ...     if failed.error.is_a(AttemptLost):  # or failed.outcome_unknown
    ...         yield from release(reservation.id)
    """

    outcome_unknown = True


class RaceLost(DurableError):
    """A member of a race was not the first to finish: the cause that its undos are told.

    >>> def is_lost(failed: StepFailed) -> bool:
    ...     return failed.error.is_a(RaceLost)
    """


class RolledBack(DurableError):
    """An operator had what the run did undone: the cause that its undos are told.

    >>> def was_an_operators_wish(failed: WorkflowFailed) -> bool:
    ...     return failed.cause is not None and failed.cause.is_a(RolledBack)
    """


class GiveUp(DurableError):
    """Raise this in a step to fail it at once, without further attempts.

    >>> @step
    ... def charge(order_id: str, cents: int) -> str:
    ...     if not cents:
    ...         raise GiveUp(f"{order_id} costs nothing")
    ...     return "paid"
    """


class Veto(DurableError):
    """Raise this in a guard: the step does not begin, or its success does not count.

    >>> class ShopHours(Guard):
    ...     def before_step(self, info: StepInfo) -> None:
    ...         if info.step == "charge":
    ...             raise Veto("the shop is closed")
    """


class MisuseError(DurableError):
    """A body does something that can't be carried out durably. The message shows the line and the right form.

    >>> @step
    ... def pack_and_ship(order_id: str) -> str:
    ...     return pack.fn(order_id)  # pack(order_id) would raise a MisuseError: steps don't call steps
    """


class EncodingError(DurableError, TypeError):
    """A value can't be stored as JSON, or is too large. Nothing was stored; the message names the place in it.

    Attributes:
        where: What was to be stored or read: an argument, a result, a signal's value; empty if it is not known.
        path: The place inside it, as in `order['items'][2]`; empty where all of it is meant.

    >>> checkout.start(print)
    Traceback (most recent call last):
    qwit_durable.errors.EncodingError: argument 'order' of checkout() can't be stored as JSON: ...
    """

    def __init__(self, message: str = "", *, where: str = "", path: str = "") -> None:
        self.where = where
        self.path = path
        super().__init__(message)


# Where a class was defined is no part of the name under which it is recorded and shown.
for _error in (
    DurableError,
    DefinitionError,
    UnknownName,
    AmbiguousDurable,
    NotRunningError,
    InvalidToken,
    OperationRefused,
    RunAlreadyExists,
    RunFailed,
    RunNotFound,
    RunStuck,
    ScheduleNotFound,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowTerminated,
    StoreError,
    StoreUnavailable,
    SchemaMismatch,
):
    _error.__module__ = __name__
