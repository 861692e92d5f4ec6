"""How far a run has come, read from its history alone: no replay, no user code.

A command is open from its `Scheduled`, or from its first `AttemptFailed`, until its outcome. An inline step leaves no
trace before its first outcome, so that the attempt which a holder is making now is nowhere in here. Pure: it knows
events and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import attrs

from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Cause,
    Completed,
    DeadlinePassed,
    Debt,
    DebtKind,
    Kind,
    OperatorActed,
    Reopened,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
    Value,
    Verb,
    undo_position,
)
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import Recorded

__all__ = ["OpenCommand", "Standing", "Undoing", "told"]

_WHAT = {
    Kind.STEP: "step",
    Kind.WORKFLOW: "sub-workflow",
    Kind.SIGNAL: "signal",
    Kind.UNDO: "the undo of",
    Kind.RECORD: "the recorded value",
    Kind.COMPENSATE: "the compensation",
}


def told(kind: Kind, name: str) -> str:
    """A command in words: `step 'charge'`, `the undo of 'charge'`."""
    return "the timer" if kind is Kind.SLEEP else f"{_WHAT.get(kind, kind.value)} {name!r}"


@attrs.define(kw_only=True)
class OpenCommand:
    """A command without an outcome.

    Attributes:
        due: When its timer, or the timeout of its wait, is due.
        queued: Whether a task stands for it.
        attempts: The number of the last attempt that failed.
        retry_at: When the attempt after that one is due.
    """

    position: str
    kind: Kind
    name: str
    since: datetime
    due: datetime | None = None
    queued: bool = False
    attempts: int = 0
    last_error: Failure | None = None
    retry_at: datetime | None = None

    @property
    def is_inline(self) -> bool:
        """Whether whoever holds the run makes its attempts."""
        return self.kind in {Kind.STEP, Kind.UNDO} and not self.queued

    @property
    def told(self) -> str:
        """The command in words."""
        return told(self.kind, self.name)


class Undoing:
    """The plan of owed undos and how far it has been followed."""

    def __init__(self, cause: Cause, plan: tuple[Debt, ...]) -> None:
        self.cause = cause
        self._plan = plan
        self._done: list[Debt] = []
        self._failed: list[Debt] = []
        self._skipped: list[Debt] = []
        self._by_position = {undo_position(debt.position): debt for debt in plan}

    def apply(self, event: Resolved | OperatorActed) -> None:
        """Take in the outcome of an undo, or what a person decided about one that gave up."""
        match event:
            case Resolved(position=position, outcome=outcome):
                debt = self._by_position.get(position)
                if debt is not None and isinstance(outcome, Value):
                    self._done.append(debt)
                elif debt is not None and isinstance(outcome, Failure):
                    self._failed.append(debt)
            case OperatorActed(verb=Verb.RETRY):
                self._failed.clear()
            case OperatorActed(verb=Verb.SKIP):
                self._skipped.extend(self._failed)
                self._failed.clear()
            case OperatorActed():
                pass

    @property
    def done(self) -> tuple[str, ...]:
        """What has been undone, in the order in which it was."""
        return tuple(debt.name for debt in self._done)

    @property
    def failed(self) -> tuple[str, ...]:
        """Undos that gave up and wait for a person."""
        return tuple(debt.name for debt in self._failed)

    @property
    def _open(self) -> list[Debt]:
        settled = {debt.position for debt in (*self._done, *self._failed, *self._skipped)}
        return [debt for debt in self._plan if debt.position not in settled]

    @property
    def owed(self) -> tuple[str, ...]:
        """What is still to be undone, the next one first."""
        return tuple(debt.name for debt in self._open)

    @property
    def current(self) -> Debt | None:
        """The undo whose turn it is."""
        return next(iter(self._open), None)

    def reopens(self, position: str) -> Debt | None:
        """The debt of a sub-workflow whose undoing stands at this position."""
        debt = self._by_position.get(position)
        return debt if debt is not None and debt.kind is DebtKind.RUN else None


class Standing:
    """What a history says about now.

    Attributes:
        open: Commands without an outcome, by position, in the order in which they were handed over.
        last: The last command that got its outcome, if any.
        ending: The cancel or the passed deadline that ended the body, and when it came.
        undoing: Set once the run is unwound.
        is_completed: Whether the body returned and its parent may yet ask it to undo what it did.
    """

    def __init__(self, history: Iterable[Recorded]) -> None:
        self.open: dict[str, OpenCommand] = {}
        self.last: Resolved | None = None
        self.ending: tuple[CancelRequested | DeadlinePassed, datetime] | None = None
        self.undoing: Undoing | None = None
        self.is_completed = False
        self._owed: tuple[Debt, ...] = ()
        for recorded in history:
            self._apply(recorded)

    def _apply(self, recorded: Recorded) -> None:
        at = recorded.at
        match recorded.event:
            case Scheduled() as event:
                self._on_scheduled(event, at)
            case Resolved() as event:
                self.open.pop(event.position, None)
                self.last = event
                if self.undoing is not None:
                    self.undoing.apply(event)
            case AttemptFailed() as event:
                self._on_attempt_failed(event, at)
            case TimerFired(position=position):
                if position in self.open and self.open[position].kind in {Kind.SLEEP, Kind.SIGNAL}:
                    del self.open[position]
            case SignalReceived(name=name):
                self._on_signal(name)
            case CancelRequested() | DeadlinePassed() as event:
                self.ending = self.ending or (event, at)
            case UnwindStarted(cause=cause, plan=plan):
                self.open.clear()
                self.undoing = Undoing(cause, plan)
            case Completed(owed=owed):
                self.open.clear()
                self.is_completed, self._owed = True, owed
            case Reopened(cause=cause):
                self.undoing = Undoing(cause, self._owed)
            case Restarted():
                pass  # it begins a history
            case OperatorActed() as event:
                if self.undoing is not None:
                    self.undoing.apply(event)

    def _on_scheduled(self, event: Scheduled, at: datetime) -> None:
        known = self.open.get(event.position)
        command = OpenCommand(
            position=event.position,
            kind=event.kind,
            name=event.name,
            since=at,
            due=event.due,
            queued=event.queued,
        )
        if known is not None:
            command.attempts, command.last_error = known.attempts, known.last_error
            command.retry_at = known.retry_at
        self.open[event.position] = command

    def _on_attempt_failed(self, event: AttemptFailed, at: datetime) -> None:
        command = self.open.get(event.position)
        if command is None:
            command = OpenCommand(
                position=event.position, kind=self._kind_at(event.position), name=event.name, since=at
            )
            self.open[event.position] = command
        command.attempts, command.last_error, command.retry_at = event.attempt, event.failure, event.retry_at

    def _kind_at(self, position: str) -> Kind:
        """What an inline command is that is known by its failed attempt alone."""
        current = self.undoing.current if self.undoing is not None else None
        is_undo = (
            current is not None
            and undo_position(current.position) == position
            and current.kind is not DebtKind.CALL
        )
        return Kind.UNDO if is_undo else Kind.STEP

    def _on_signal(self, name: str) -> None:
        if self.ending is not None:
            return
        waiting = (c.position for c in self.open.values() if c.kind is Kind.SIGNAL and c.name == name)
        position = next(waiting, None)
        if position is not None:
            del self.open[position]
