"""Every error of the library, in one tree under `DurableError`.

A message has four parts: what happened to which run; the evidence; the likely cause; the ways out. The facts are
attributes too, so that no program has to parse a text. `Failure` is an error as data: what the store keeps of an
exception, never the exception itself and never a class loaded by a stored name.

This module imports nothing of the package.
"""

from __future__ import annotations

import builtins
import traceback as _traceback
from typing import Any

import attrs

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
    "InvalidToken",
    "MisuseError",
    "NotRunningError",
    "OperationRefused",
    "RaceLost",
    "RolledBack",
    "RunAlreadyExists",
    "RunFailed",
    "RunNotFound",
    "RunStuck",
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
]

_TRACEBACK_LIMIT_CHARS = 8_000


def class_name(cls: type) -> str:
    """The name under which an exception class is recorded: `module.qualname`, bare for builtins."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


@attrs.frozen(kw_only=True)
class Failure:
    """An error as it is recorded: the same on the first run and on every replay.

    Attributes:
        type: The class's bare name, for example `CardDeclined`.
        message: `str()` of the exception.
        traceback: The formatted traceback, trimmed to the last 8,000 characters; empty when there was none.
        lineage: Recorded names of the class and all its bases, most special first; `is_a` reads it.
        outcome_unknown: True when the attempt may have had its effect all the same: it timed out, or its worker died.
        cause: What this failure wraps: the step's failure inside a `StepFailed`.
        by_deadline: True when it was a step's last attempt because its `deadline` left no time for another one.
    """

    type: str
    message: str
    traceback: str = attrs.field(default="", eq=False, repr=False)
    lineage: tuple[str, ...] = ()
    outcome_unknown: bool = False
    cause: Failure | None = None
    by_deadline: bool = False

    @classmethod
    def of(cls, error: BaseException, *, outcome_unknown: bool = False) -> Failure:
        """Take down `error` as data."""
        text = "".join(_traceback.format_exception(type(error), error, error.__traceback__))
        return cls(
            type=type(error).__name__,
            message=_text_of(error),
            traceback=text[-_TRACEBACK_LIMIT_CHARS:],
            lineage=tuple(class_name(base) for base in type(error).__mro__ if base is not object),
            outcome_unknown=outcome_unknown or bool(getattr(error, "outcome_unknown", False)),
            cause=getattr(error, "error", None) if isinstance(error, (StepFailed, ChildFailed)) else None,
        )

    def is_a(self, cls: builtins.type[BaseException]) -> bool:
        """Tell whether the recorded error, or what it wraps, was an instance of `cls`.

        Asked by recorded names: no class is loaded to answer.
        """
        return class_name(cls) in self.lineage or (self.cause is not None and self.cause.is_a(cls))

    @property
    def root(self) -> Failure:
        """The innermost cause: what first went wrong."""
        return self if self.cause is None else self.cause.root

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _text_of(error: BaseException) -> str:
    """`str()` of an exception of the user's, which must not stand in the way of its own record."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - whatever it is
        return f"(its str() raised {type(second).__name__})"


class DurableError(Exception):
    """Base of every error that this library raises on purpose."""


# -- at import -------------------------------------------------------------------------------------------------


class DefinitionError(DurableError, TypeError):
    """A workflow, a step or one of their options is defined wrongly. The message shows the right form."""


class UnknownName(DurableError, LookupError):
    """No workflow or step of that name is registered in this process. Import the module that defines it."""


class AmbiguousDurable(DurableError, RuntimeError):
    """No `Durable` is the default here, or several are. Name one: `durable.start(workflow, ...)`."""


class NotRunningError(DurableError, RuntimeError):
    """This needs a surrounding that is not there: a step's attempt, or an entered `Durable`."""


# -- inside bodies and steps -----------------------------------------------------------------------------------


class StepFailed(DurableError):
    """A step has failed for good; raised at the `yield` that asked for it.

    Attributes:
        step: Name of the step.
        error: The recorded `Failure` of its last attempt.
        attempts: How many attempts there were; 0 if a guard did not let it begin.
        outcome_unknown: True when the last attempt may have had its effect all the same.
        by_deadline: True when the step's `deadline` left no time for another attempt.
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
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        if not self.attempts:
            return f"step {self.step!r} was not let begin: {self.error}"
        doubt = " (it may have had its effect all the same)" if self.outcome_unknown else ""
        late = "; its deadline left no time for another" if self.by_deadline else ""
        return f"step {self.step!r} failed after {tries}{late}: {self.error}{doubt}"


class ChildFailed(DurableError):
    """A sub-workflow ended without a value, after undoing what it did; raised at the `yield` that called it.

    Attributes:
        workflow: Name of the sub-workflow.
        error: Its recorded `Failure`.
    """

    def __init__(self, workflow: str, error: Failure) -> None:
        self.workflow = workflow
        self.error = error
        super().__init__(workflow, error)

    def __str__(self) -> str:
        return f"sub-workflow {self.workflow!r} failed: {self.error}"


class SignalTimeout(DurableError, TimeoutError):
    """`wait_signal` waited as long as it was told to and no signal of that name came."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"no signal {self.name!r} came in time"


class DeadlineExceeded(DurableError, TimeoutError):
    """The deadline of the run has passed before it ended."""


class AttemptTimedOut(DurableError, TimeoutError):
    """One attempt of a step took longer than its `timeout`. Its effect may have happened."""

    outcome_unknown = True


class AttemptLost(DurableError):
    """The worker that made an attempt died in it. Its effect may have happened."""

    outcome_unknown = True


class RaceLost(DurableError):
    """A member of a race was not the first to finish: the cause that its undos are told."""


class RolledBack(DurableError):
    """An operator had what the run did undone: the cause that its undos are told."""


class GiveUp(DurableError):
    """Raise this in a step to fail it at once, without further attempts."""


class Veto(DurableError):
    """Raise this in a guard: the step does not begin, or its success does not count."""


class MisuseError(DurableError):
    """A body does something that can't be carried out durably. The message shows the line and the right form."""


class EncodingError(DurableError, TypeError):
    """A value can't be stored as JSON, or is too large. Nothing was stored; the message names the place in it."""


# -- seen by callers -------------------------------------------------------------------------------------------


class RunFailed(DurableError):
    """Base of the errors that `Handle.result()` raises for a run that gave no value.

    Attributes:
        run_id: The run.
        cause: The recorded `Failure` that decided the run, or None.
        undone: Names of the undos that ran, in the order in which they ran.
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
    """The run failed. What it owed has been undone."""


class WorkflowCancelled(RunFailed):
    """The run was cancelled."""

    _verb = "was cancelled"


class WorkflowTerminated(RunFailed):
    """The run was terminated where it stood: nothing was undone."""

    _verb = "was terminated"


class RunStuck(RunFailed):
    """The run needs a person. `reason` says why; `Handle.explain()` says which verbs help."""

    _verb = "is stuck"
    reason: str = ""

    def __str__(self) -> str:
        names_the_run = self.reason.startswith(f"run {self.run_id} of workflow {self.workflow!r} ")
        if names_the_run:
            return self.reason
        return f"{super().__str__()}\n{self.reason}" if self.reason else super().__str__()


class RunNotFound(DurableError, LookupError):
    """No run of that id is in this store and namespace."""


class RunAlreadyExists(DurableError):
    """A run of that id exists with another input, or is still open. Choose another id or another `on_conflict`."""


class InvalidToken(DurableError, ValueError):
    """This is no token of this store: cut, changed, invented, or another store's. Nothing was recorded."""


class OperationRefused(DurableError):
    """The run's status does not allow this. The message names the status and what is possible in it."""


# -- the store -------------------------------------------------------------------------------------------------


class StoreError(DurableError):
    """Base of what goes wrong between this process and the store."""


class StoreUnavailable(StoreError, ConnectionError):
    """The store can't be reached, or the connection was lost. Nothing that was acknowledged is lost."""


class SchemaMismatch(StoreError):
    """The store's schema is missing, older or newer than this code. The message says what to do."""


def describe(value: Any, *, limit: int = 80) -> str:
    """A short `repr` for messages."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
