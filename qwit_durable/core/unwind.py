"""Paying what is owed: the plan of undos, newest first, one at a time.

Driven by recorded facts alone, like the interpreter whose place it takes once `UnwindStarted` is recorded: the body is
not asked any more, so that unwinding survives a deploy that changes it. The undo of the command at `3` stands at `~3`.

An undo that has used up its attempts halts the run (`stop`), or is set aside while the older ones run (`continue`);
either way a person decides: `retry` tries the failed ones again, `skip` takes them as done. First cause wins: no later
cancel or error changes the cause or the order.

An undo may ask for a signal before it goes on: one that was recorded after the unwinding began, so that nothing meant
for the way forward is taken for it. It goes on as a command of its own, with attempts of its own. In a scope of the
body it is one that comes while the undo waits: the body has a way forward still.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Literal

import attrs

from qwit_durable.core.commands import AS_DEFINED, CallStep, Leaf, Resumption, Undo, UndoRun, WaitSignal
from qwit_durable.core.decision import Advance, Decision, Finish, Halt, Pending, UndoGaveUp
from qwit_durable.core.events import (
    AttemptFailed,
    Cause,
    Debt,
    DebtKind,
    Event,
    OperatorActed,
    Resolved,
    Scheduled,
    SignalReceived,
)
from qwit_durable.core.outcome import Value
from qwit_durable.core.status import Status, Verb
from qwit_durable.errors import Failure

__all__ = ["OnUndoFailure", "Unwinding", "undo_command", "undo_position"]

OnUndoFailure = Literal["stop", "continue"]


def undo_position(position: str) -> str:
    """Where the undo of the command at `position` stands."""
    return f"~{position}"


def undo_command(debt: Debt) -> Leaf:
    """The command that pays a debt."""
    match debt.kind:
        case DebtKind.UNDO:
            return Undo(name=debt.name, args=debt.args, result=debt.result, attempt=debt.attempt)
        case DebtKind.CALL:
            settings = AS_DEFINED if debt.settings is None else debt.settings.settings
            is_changed = debt.settings is not None
            return CallStep(name=debt.name, args=debt.args, settings=settings, is_changed=is_changed)
        case DebtKind.RUN:
            return UndoRun(name=debt.name, position=debt.position)


@attrs.define
class _Progress:
    """How far one undo has come that waits for signals: its commands stand at `~3`, `~3+`, `~3++` and so on.

    Attributes:
        place: How many of its commands are over.
        awaits: The name of the signal that it waits for.
        so_far: What it gave when it began to wait.
        resumes: With what it goes on.
    """

    place: int = 0
    awaits: str | None = None
    so_far: bytes = b"null"
    resumes: Resumption | None = None


@attrs.define
class _Try:
    """How far the current undo has come."""

    attempts: int = 0
    scheduled: bool = False
    queued: bool = False
    retry_at: datetime | None = None
    began_at: datetime | None = None


class Unwinding:
    """Follows a plan of undos through the events recorded about them."""

    def __init__(self, cause: Cause, plan: tuple[Debt, ...], on_undo_failure: OnUndoFailure) -> None:
        self.cause = cause
        self._on_undo_failure = on_undo_failure
        self._owed = deque(plan)
        self._done: list[Debt] = []
        self._failed: list[tuple[Debt, Failure]] = []
        self._halted = False
        self._try = _Try()
        self._progress: dict[str, _Progress] = {}
        self._signals: dict[str, deque[bytes]] = {}

    def apply(self, event: Event) -> None:
        """Take one recorded fact into account; facts about anything but the current undo change nothing."""
        match event:
            case OperatorActed(verb=Verb.RETRY | Verb.ROLLBACK):
                self._reopen_failed()
            case OperatorActed(verb=Verb.SKIP):
                self._skip_failed()
            case SignalReceived(name=name, value=value):
                self._signals.setdefault(name, deque()).append(value)
                self._hear()
            case Scheduled() | AttemptFailed() | Resolved() if self._owed and not self._halted:
                if event.position == self._position:
                    self._apply_to_current(event)
            case _:
                pass

    def resume(self) -> None:
        """The parent asks again, after the run was terminated half-way: what is undone stays undone.

        What stood for the current undo (its task, its timer) is gone, so that one starts anew.
        """
        self._reopen_failed()
        self._try = _Try()

    def _apply_to_current(self, event: Scheduled | AttemptFailed | Resolved) -> None:
        match event:
            case Scheduled(queued=queued):
                self._try.scheduled, self._try.queued = True, queued
            case AttemptFailed(attempt=attempt, retry_at=retry_at, began_at=began_at):
                self._try.attempts, self._try.retry_at = attempt, retry_at
                self._try.began_at = self._try.began_at or began_at
            case Resolved(outcome=Failure() as failure):
                self._failed.append((self._owed[0], failure))
                if self._on_undo_failure == "stop":
                    self._halted = True
                else:
                    self._next()
            case Resolved(outcome=Value(data=data, awaits=str(name))):
                now = self._current
                now.awaits, now.so_far, now.place = name, data, now.place + 1
                self._try = _Try()
                self._hear()
            case Resolved(outcome=Value()):
                self._done.append(self._owed[0])
                self._next()
            case Resolved():
                pass

    @property
    def awaits(self) -> str | None:
        """The name of the signal that the current undo waits for."""
        return self._current.awaits if self._owed and not self._halted else None

    @property
    def _current(self) -> _Progress:
        return self._progress.setdefault(self._owed[0].position, _Progress())

    @property
    def _position(self) -> str:
        return undo_position(self._owed[0].position) + "+" * self._current.place

    def _hear(self) -> None:
        """Give the current undo the signal that it waits for, if that has come since the unwinding began."""
        if not self._owed or (now := self._current).awaits is None:
            return
        heard = self._signals.get(now.awaits)
        if heard:
            now.resumes = Resumption(heard.popleft(), now.so_far)
            now.awaits, now.place = None, now.place + 1
            self._try = _Try()

    def _command(self) -> Leaf:
        now, command = self._current, undo_command(self._owed[0])
        if now.awaits is not None:
            return WaitSignal(name=now.awaits)
        return attrs.evolve(command, resumes=now.resumes) if isinstance(command, Undo) else command

    def _next(self) -> None:
        self._owed.popleft()
        self._try = _Try()

    @property
    def _gave_up(self) -> bool:
        return self._halted or bool(self._failed and not self._owed)

    def _reopen_failed(self) -> None:
        if not self._gave_up:
            return
        if not self._halted:
            self._owed.extend(debt for debt, _ in self._failed)
        self._failed.clear()
        self._halted = False
        self._try = _Try()

    def _skip_failed(self) -> None:
        if not self._gave_up:
            return
        if self._halted:
            self._next()
        self._failed.clear()
        self._halted = False

    def decide(self) -> Decision:
        """What to do next."""
        if self._gave_up:
            failed = tuple(self._failed)
            owed = tuple(self._owed)[1 if self._halted else 0 :]
            return Halt(reason=UndoGaveUp(cause=self.cause, failed=failed, done=tuple(self._done), owed=owed))
        if self._owed:
            now = self._try
            pending = Pending(
                position=self._position,
                command=self._command(),
                attempts=now.attempts,
                scheduled=now.scheduled,
                queued=now.queued,
                retry_at=now.retry_at,
                began_at=now.began_at,
                cause=self.cause,
            )
            handed_over = now.queued or (now.scheduled and isinstance(pending.command, UndoRun | WaitSignal))
            return Advance(
                begin=() if handed_over else (pending,),
                waiting=(pending,) if handed_over else (),
            )
        return Finish(
            status=Status.CANCELLED if self.cause.cancelled else Status.COMPENSATED,
            failure=self.cause.failure,
            undone=tuple(debt.name for debt in self._done),
        )
