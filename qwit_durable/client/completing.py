"""Completing and failing steps that were left open with `pending()`, from any process that reaches the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Any

from qwit_durable.client.access import Access
from qwit_durable.codec import check_size, encode
from qwit_durable.core import Kind, Value
from qwit_durable.errors import Failure, InvalidToken, OperationRefused, RunNotFound, UnknownName
from qwit_durable.observers.base import AttemptInfo, Observers
from qwit_durable.stores.answers import Accepted, Refused
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.rows import RunView, TaskRow
from qwit_durable.stores.tokens import TokenClaim, Tokens
from qwit_durable.stores.writes import CompleteTask

__all__ = ["Completing"]


class Completing:
    """`complete` and `fail`, for whatever has a client's access to a store."""

    @cached_property
    def _tokens(self: Any) -> Tokens:
        return Tokens(self.write)

    def complete(self: Any, token: str, value: object = None) -> bool:
        """Give a step that was left open with `pending()` its value; its run goes on.

        The value is recorded before this returns. The first completion of any attempt wins; repeating it does no harm.

        Args:
            token: What the step handed over: `pending().token`.
            value: The step's value, as its return annotation says; where this process does not know the step, JSON
                data. For an undo it means nothing.

        Returns:
            True if this call completed the step, False if it was completed before.

        Raises:
            InvalidToken: It is no token of this store, or of another namespace. Nothing was recorded.
            EncodingError: The value can't be stored, or does not fit the step. Nothing was recorded.
            OperationRefused: The step has failed, nobody waits for it any more, or its run has ended or begun anew.
            RunNotFound: The run is not in the store any more.

        >>> durable.complete(request.query["token"], Decision(approved=True))
        True
        """
        return _end(self, self._tokens, token, lambda task: Value(_encoded(self, task, value)))

    def fail(self: Any, token: str, error: str | BaseException | Failure) -> bool:
        """End an attempt that was left open with `pending()` as failed; the step's Retry says what follows.

        Args:
            token: What the attempt handed over: `pending().token`.
            error: Why: an exception (`GiveUp("…")` allows no further attempt), a recorded `Failure`, or a text.

        Returns:
            True if this call ended the attempt, False if it had ended before.

        Raises:
            InvalidToken: It is no token of this store, or of another namespace. Nothing was recorded.
            OperationRefused: The step was completed, nobody waits for it, or its run has ended or begun anew.
            RunNotFound: The run is not in the store any more.

        >>> durable.fail(token, "the approver is on holiday")
        True
        """
        return _end(self, self._tokens, token, lambda _: _failure_of(error))


def _end(
    access: Access,
    tokens: Tokens,
    token: str,
    outcome_for: Callable[[TaskRow | None], Value | Failure],
) -> bool:
    claim = tokens.read(token)
    view = access.reader.view(claim.run_id)
    if view is None:
        msg = f"the run that this token is for is not in the store any more: {claim.run_id}; it was pruned"
        raise RunNotFound(msg)
    if view.run.namespace != access.namespace:
        msg = (
            f"this token is for a run of namespace {view.run.namespace!r}, and this is namespace {access.namespace!r}\n"
            f"  way out: complete it where Durable(namespace=...) or --namespace names that one"
        )
        raise InvalidToken(msg)
    task = next((t for t in access.reader.tasks(claim.run_id) if t.position == claim.position), None)
    outcome = outcome_for(task)
    answer = access.write(
        CompleteTask(
            run_id=claim.run_id,
            generation=claim.generation,
            position=claim.position,
            attempt=claim.attempt,
            outcome=outcome,
            ring_after=RING_GRACE if access.can_ring else timedelta(0),
        )
    )
    match answer:
        case Accepted(repeated=True):
            return False
        case Accepted(rings=rings):
            if task is not None and isinstance(outcome, Value):
                _tell(access, view, claim, task)
            access.ring(rings)
            return True
        case Refused():
            raise _refusal(view, claim, task, answer)
        case _:
            msg = f"the store answered {answer!r}"
            raise AssertionError(msg)


def _encoded(access: Access, task: TaskRow | None, value: object) -> bytes:
    if task is None or task.spec is None or task.spec.kind is Kind.UNDO:
        return b"null"  # too late, which the store will say; or an undo, which has no value
    where = f"the value of complete() for step {task.name!r}"
    try:
        data = access.registry.step(task.name).encode_result(value)
    except UnknownName:
        native = (str, int, float, bool, list, dict, tuple, type(None))
        data = encode(value, Any if isinstance(value, native) else type(value), where)
    check_size(data, where, access.limit_bytes)
    return data


def _failure_of(error: str | BaseException | Failure) -> Failure:
    match error:
        case Failure():
            return error
        case BaseException():
            return Failure.of(error)
        case str():
            return Failure(type="Failed", message=error, lineage=("Failed", "Exception", "BaseException"))
        case _:
            msg = f"fail(): the error is a text, an exception or a Failure, got {error!r}"  # type: ignore[unreachable]
            raise TypeError(msg)


def _tell(access: Access, view: RunView, claim: TokenClaim, task: TaskRow) -> None:
    """Observers of the attempt hear of its end where it was ended."""
    assert task.spec is not None
    now = access.reader.now()
    info = AttemptInfo(
        run=view.run,
        generation=claim.generation,
        step=task.name,
        position=task.position,
        attempt=claim.attempt,
        queue=task.queue,
        inline=False,
        started_at=task.claimed_at or now,
        ended_at=now,
        undoes=task.spec.undoes,
    )
    Observers(access.observers).attempt_finished(info)


def _refusal(
    view: RunView, claim: TokenClaim, task: TaskRow | None, refused: Refused
) -> OperationRefused | RunNotFound:
    run = view.run
    step = f"step {task.name!r} of run {run.key}" if task is not None else f"that step of run {run.key}"
    status = refused.status or view.status
    why = {
        "missing": "its run is not in the store any more",
        "restarted": "its body has begun anew with restart(): what was asked for before is no longer waited for",
        "completed": "it is completed already, and keeps its value",
        "failed": f"it has failed already: {refused.failure}",
        "settled": "nobody waits for it any more: the run was cancelled, or went another way",
        "ended": "its run has ended",
    }.get(refused.reason, refused.reason)
    msg = (
        f"{step} (position {claim.position}, attempt {claim.attempt}) takes no completion: {why}\n"
        f"  the run is {status}; see: qwit history {run.key}"
    )
    return RunNotFound(msg) if refused.reason == "missing" else OperationRefused(msg)
