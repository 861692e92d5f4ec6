"""One structured log line per committed fact, through the standard library's logging.

The message reads well by itself; the same facts are fields of the record (`extra`), for formatters that write JSON.
Arguments and results are never logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwit_durable.core import Cause, Status
from qwit_durable.errors import Failure
from qwit_durable.observers.base import AttemptInfo, EndInfo, Observer

if TYPE_CHECKING:
    from qwit_durable.stores.rows import RunRow

__all__ = ["LogObserver"]

_FAILED = frozenset({Status.FAILED, Status.COMPENSATED})


class LogObserver(Observer):
    """Logs to `qwit_durable.run`.

    Beginnings of attempts are DEBUG, attempts that are tried again and unwinding WARNING, what failed for good ERROR,
    everything else INFO. Every record has the fields `event` (the hook's name), `run_id`, `workflow` and `namespace`;
    those of attempts have `step`, `position`, `attempt`, `queue`, `inline`, and once they are over `outcome` and
    `duration_seconds`; what failed has `error_type` and `error_message`.

    Args:
        logger: Instead of `qwit_durable.run`.

    >>> durable = Durable("sqlite:///orders.db", observers=[LogObserver()])
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("qwit_durable.run")

    def run_started(self, run: RunRow) -> None:
        self._log(logging.INFO, "run_started", run, "started")

    def step_starting(self, attempt: AttemptInfo) -> None:
        self._starting("step_starting", "step", attempt)

    def step_finished(self, attempt: AttemptInfo) -> None:
        self._finished("step_finished", "step", attempt)

    def unwinding(self, run: RunRow, cause: Cause, plan: Sequence[str]) -> None:
        names = ", ".join(plan) or "nothing"
        text = f"unwinds because of {cause.failure}; owed: {names}"
        self._log(logging.WARNING, "unwinding", run, text, **_of_failure(cause.failure), plan=list(plan))

    def undo_starting(self, attempt: AttemptInfo) -> None:
        self._starting("undo_starting", "undo of", attempt)

    def undo_finished(self, attempt: AttemptInfo) -> None:
        self._finished("undo_finished", "undo of", attempt)

    def run_finished(self, end: EndInfo) -> None:
        level = logging.ERROR if end.status in _FAILED else logging.INFO
        seconds = (end.ended_at - end.run.created_at).total_seconds()
        text = f"ended {end.status.value} after {seconds:.3f} s"
        if end.failure is not None:
            text += f": {end.failure}"
        if end.undone:
            text += f"; undone: {', '.join(end.undone)}"
        fields = _of_failure(end.failure) | {"undone": list(end.undone)}
        self._log(
            level, "run_finished", end.run, text, outcome=end.status.value, duration_seconds=seconds, **fields
        )

    def _starting(self, event: str, what: str, attempt: AttemptInfo) -> None:
        text = f"{what} {attempt.step!r} at {attempt.position}: attempt {attempt.attempt} begins"
        self._log(logging.DEBUG, event, attempt.run, text, **_of_attempt(attempt))

    def _finished(self, event: str, what: str, attempt: AttemptInfo) -> None:
        seconds = ((attempt.ended_at or attempt.started_at) - attempt.started_at).total_seconds()
        level, outcome = logging.INFO, "completed"
        text = f"{what} {attempt.step!r} at {attempt.position}: attempt {attempt.attempt} "
        if attempt.awaits is not None:
            outcome = "waiting"
            text += f"waits for signal {attempt.awaits!r} after {seconds:.3f} s"
        elif attempt.failure is None:
            text += f"completed in {seconds:.3f} s"
        elif not attempt.attempt:
            level, outcome = logging.WARNING, "vetoed"
            text = f"{what} {attempt.step!r} at {attempt.position} was not let begin: {attempt.failure}"
        elif attempt.retry_at is None:
            level, outcome = logging.ERROR, "failed"
            text += f"failed for good: {attempt.failure}"
        else:
            level, outcome = logging.WARNING, "retrying"
            text += f"failed: {attempt.failure}; the next one is due at {attempt.retry_at.isoformat()}"
        fields = _of_attempt(attempt) | _of_failure(attempt.failure)
        self._log(level, event, attempt.run, text, outcome=outcome, duration_seconds=seconds, **fields)

    def _log(self, level: int, event: str, run: RunRow, text: str, **fields: object) -> None:
        facts = {"event": event, "run_id": run.key, "workflow": run.workflow, "namespace": run.namespace}
        self._logger.log(level, "run %s of %s: %s", run.key, run.workflow, text, extra=facts | fields)


def _of_attempt(attempt: AttemptInfo) -> dict[str, object]:
    return {
        "step": attempt.step,
        "position": attempt.position,
        "attempt": attempt.attempt,
        "queue": attempt.queue,
        "inline": attempt.inline,
    }


def _of_failure(failure: Failure | None) -> dict[str, object]:
    return {} if failure is None else {"error_type": failure.type, "error_message": failure.message}
