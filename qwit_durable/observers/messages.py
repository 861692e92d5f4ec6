"""A message per state change: a function of the user's is called with one small record for every committed fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import attrs

from qwit_durable.clock import Clock, SystemClock
from qwit_durable.core import Cause, Status
from qwit_durable.errors import Failure
from qwit_durable.observers.base import AttemptInfo, EndInfo, Observer

if TYPE_CHECKING:
    from qwit_durable.stores.rows import RunRow

__all__ = ["Change", "MessagePerChange", "StateChange"]

Change = Literal[
    "run_started",
    "step_starting",
    "step_finished",
    "unwinding",
    "undo_starting",
    "undo_finished",
    "run_finished",
]


@attrs.frozen(kw_only=True)
class StateChange:
    """One committed fact about one run. It holds no arguments and no results.

    Attributes:
        change: What happened: the name of the observer's hook.
        run_id: The run's id, as users see it.
        at: When: the store's time; of `unwinding`, this process's.
        step: The step, for attempts of steps and undos, with its `position` and `attempt`.
        status: How the run ended, for `run_finished`.
        failure: Why an attempt failed, why the run unwinds, or why it ended so.
        retry_at: When the next attempt is due, if there is one.
        awaits: The signal with which an undo goes on that is not done yet.
        undos: For `unwinding` the names of the owed undos, newest first; for `run_finished` of those that ran.
    """

    change: Change
    run_id: str
    workflow: str
    at: datetime
    namespace: str = "default"
    step: str | None = None
    position: str | None = None
    attempt: int | None = None
    status: Status | None = None
    failure: Failure | None = None
    retry_at: datetime | None = None
    awaits: str | None = None
    undos: tuple[str, ...] = ()


class MessagePerChange(Observer):
    """Calls a function with a `StateChange` for every committed fact, in order, in the thread that committed it.

    The function should hand the record over (publish it, enqueue it) and return: the run waits for it. What it raises
    is logged, and the run goes on. A process that dies after a commit and before the call tells nobody, and no other
    tells it later.

    Args:
        callback: Called with each `StateChange`.
        clock: For the time of `unwinding`.

    >>> durable = Durable(
    ...     "sqlite:///orders.db", observers=[MessagePerChange(lambda change: bus.publish(change))]
    ... )
    """

    def __init__(self, callback: Callable[[StateChange], object], *, clock: Clock | None = None) -> None:
        self._callback = callback
        self._clock = clock or SystemClock()

    def run_started(self, run: RunRow) -> None:
        self._tell("run_started", run, run.created_at)

    def step_starting(self, attempt: AttemptInfo) -> None:
        self._tell_attempt("step_starting", attempt)

    def step_finished(self, attempt: AttemptInfo) -> None:
        self._tell_attempt("step_finished", attempt)

    def unwinding(self, run: RunRow, cause: Cause, plan: Sequence[str]) -> None:
        self._tell("unwinding", run, self._clock.now(), failure=cause.failure, undos=tuple(plan))

    def undo_starting(self, attempt: AttemptInfo) -> None:
        self._tell_attempt("undo_starting", attempt)

    def undo_finished(self, attempt: AttemptInfo) -> None:
        self._tell_attempt("undo_finished", attempt)

    def run_finished(self, end: EndInfo) -> None:
        self._tell(
            "run_finished", end.run, end.ended_at, status=end.status, failure=end.failure, undos=end.undone
        )

    def _tell_attempt(self, change: Change, attempt: AttemptInfo) -> None:
        self._callback(
            StateChange(
                change=change,
                run_id=attempt.run.key,
                workflow=attempt.run.workflow,
                namespace=attempt.run.namespace,
                at=attempt.ended_at or attempt.started_at,
                step=attempt.step,
                position=attempt.position,
                attempt=attempt.attempt,
                failure=attempt.failure,
                retry_at=attempt.retry_at,
                awaits=attempt.awaits,
            )
        )

    def _tell(
        self,
        change: Change,
        run: RunRow,
        at: datetime,
        *,
        status: Status | None = None,
        failure: Failure | None = None,
        undos: tuple[str, ...] = (),
    ) -> None:
        self._callback(
            StateChange(
                change=change,
                run_id=run.key,
                workflow=run.workflow,
                namespace=run.namespace,
                at=at,
                status=status,
                failure=failure,
                undos=undos,
            )
        )
