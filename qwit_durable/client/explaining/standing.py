"""How far a run has come, read from its history alone: no replay, no user code.

A command is open from its `Scheduled`, or from its first `AttemptFailed`, until its outcome. An inline step leaves no
trace before its first outcome, so that the attempt which a holder is making now is nowhere in here. Pure: it knows
events and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

import attrs

from qwit_durable.client.explaining.undoing import Undoing
from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Completed,
    DeadlinePassed,
    Debt,
    DebtKind,
    Dropped,
    Kind,
    OperatorActed,
    Outcome,
    Reopened,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
    Value,
    Verb,
)
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import Recorded

__all__ = ["Calls", "OpenCommand", "Standing", "told"]

_WHAT = {
    Kind.STEP: "step",
    Kind.WORKFLOW: "sub-workflow",
    Kind.SIGNAL: "signal",
    Kind.UNDO: "the undo of",
    Kind.RECORD: "the recorded value",
    Kind.COMPENSATE: "the compensation",
    Kind.MAP: "the calls of step",
    Kind.PUBLISH: "the publishing of",
    Kind.PATCH: "the patch",
}


def told(kind: Kind, name: str) -> str:
    """A command in words: `step 'charge'`, `the undo of 'charge'`."""
    return "the timer" if kind is Kind.SLEEP else f"{_WHAT.get(kind, kind.value)} {name!r}"


@attrs.define
class Calls:
    """How far a map has come.

    Attributes:
        total: How many calls it has.
        handed: How many of them have a task, or had one.
        done: How many succeeded.
        failed: How many failed for good.
        left: Once nobody waits for it any more: how many attempts are still under way.
    """

    total: int
    handed: int = 0
    done: int = 0
    failed: int = 0
    left: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether the command has its outcome."""
        return self.left == 0 if self.left is not None else self.done >= self.total

    def count(self, outcome: Outcome) -> None:
        """One more call has its outcome."""
        match outcome:
            case Value():
                self.done += 1
            case Failure():
                self.failed += 1
            case Dropped():
                pass
        if self.left is not None:
            self.left -= 1


@attrs.define(kw_only=True)
class OpenCommand:
    """A command without an outcome.

    Attributes:
        due: When its timer, or the timeout of its wait, is due.
        queued: Whether a task stands for it.
        attempts: The number of the last attempt that failed.
        retry_at: When the attempt after that one is due.
        calls: Of a map.
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
    calls: Calls | None = None

    @property
    def is_inline(self) -> bool:
        """Whether whoever holds the run makes its attempts."""
        return self.kind in {Kind.STEP, Kind.UNDO} and not self.queued

    @property
    def told(self) -> str:
        """The command in words."""
        return told(self.kind, self.name)


class Standing:
    """What a history says about now.

    Attributes:
        open: Commands without an outcome, by position, in the order in which they were handed over.
        last: The last command that got its outcome, if any.
        ending: The cancel, rollback or passed deadline that ended the body, and when it came.
        undoing: Set once the run is unwound.
        scopes: By position, the sagas and the lost members of races that are being unwound while the body goes on.
        is_completed: Whether the body returned and its parent may yet ask it to undo what it did.
        restarted_at: When the body began anew, if it did.
    """

    def __init__(self, history: Iterable[Recorded]) -> None:
        self.open: dict[str, OpenCommand] = {}
        self.last: Resolved | None = None
        self.ending: tuple[CancelRequested | DeadlinePassed | OperatorActed, datetime] | None = None
        self.undoing: Undoing | None = None
        self.scopes: dict[str, Undoing] = {}
        self.is_completed = False
        self.restarted_at: datetime | None = None
        self._owed: tuple[Debt, ...] = ()
        for recorded in history:
            self._apply(recorded)

    @property
    def plans(self) -> tuple[Undoing, ...]:
        """What is being unwound: the run, or scopes of its body."""
        return (self.undoing,) if self.undoing is not None else tuple(self.scopes.values())

    def reopens(self, position: str) -> Debt | None:
        """The debt of a sub-workflow whose undoing stands at this position."""
        return next((debt for plan in self.plans if (debt := plan.reopens(position)) is not None), None)

    def _apply(self, recorded: Recorded) -> None:
        at = recorded.at
        match recorded.event:
            case Scheduled() as event:
                self._on_scheduled(event, at)
            case Resolved() as event:
                self._on_resolved(event)
            case AttemptFailed() as event:
                self._on_attempt_failed(event, at)
            case TimerFired(position=position):
                if position in self.open and self.open[position].kind in {Kind.SLEEP, Kind.SIGNAL}:
                    del self.open[position]
            case SignalReceived(name=name):
                self._on_signal(name)
            case CancelRequested() | DeadlinePassed() as event:
                self.ending = self.ending or (event, at)
            case UnwindStarted(cause=cause, plan=plan, scope=scope):
                self._on_unwind(Undoing(cause, plan), scope)
            case Completed(owed=owed):
                self.open.clear()
                self.is_completed, self._owed = True, owed
            case Reopened(cause=cause):
                self.undoing = Undoing(cause, self._owed)
            case Restarted():
                self.restarted_at = at
            case OperatorActed() as event:
                self._on_operator(event, at)

    def _on_unwind(self, plan: Undoing, scope: str | None) -> None:
        if scope is None:
            self.open.clear()
            self.scopes.clear()
            self.undoing = plan
        else:
            self.scopes[scope] = plan

    def _on_operator(self, event: OperatorActed, at: datetime) -> None:
        for plan in self.plans:
            plan.apply(event)
        if event.verb is Verb.ROLLBACK and self.undoing is None:
            self.ending = self.ending or (event, at)

    def _on_resolved(self, event: Resolved) -> None:
        if event.kind is Kind.MAP:
            self._on_call_resolved(event)
            return
        self.open.pop(event.position, None)
        self.last = event
        for plan in self.plans:
            plan.apply(event)
        for scope in [scope for scope, plan in self.scopes.items() if plan.is_over]:
            del self.scopes[scope]

    def _on_call_resolved(self, event: Resolved) -> None:
        """The outcome of one call of a map, or that nobody waits for the map any more."""
        command = self.open.get(event.position) or self.open.get(event.position.rpartition(".")[0])
        if command is None or command.calls is None:
            return
        if command.position == event.position:
            command.calls.left = event.outcome.left if isinstance(event.outcome, Dropped) else 0
        else:
            command.calls.count(event.outcome)
        if command.calls.is_over:
            del self.open[command.position]
            self.last = attrs.evolve(event, position=command.position)

    def _on_scheduled(self, event: Scheduled, at: datetime) -> None:
        known = self.open.get(event.position)
        if event.kind is Kind.MAP and known is not None and known.calls is not None:
            known.calls.handed = event.upto
            return
        command = OpenCommand(
            position=event.position,
            kind=event.kind,
            name=event.name,
            since=at,
            due=event.due,
            queued=event.queued,
            calls=Calls(_count(event.args), event.upto) if event.kind is Kind.MAP else None,
        )
        if known is not None:
            command.attempts, command.last_error = known.attempts, known.last_error
            command.retry_at = known.retry_at
        self.open[event.position] = command

    def _on_attempt_failed(self, event: AttemptFailed, at: datetime) -> None:
        above = self.open.get(event.position.rpartition(".")[0])
        if above is not None and above.calls is not None:
            above.last_error = event.failure
            return
        command = self.open.get(event.position)
        if command is None:
            command = OpenCommand(
                position=event.position, kind=self._kind_at(event.position), name=event.name, since=at
            )
            self.open[event.position] = command
        command.attempts, command.last_error, command.retry_at = event.attempt, event.failure, event.retry_at

    def _kind_at(self, position: str) -> Kind:
        """What an inline command is that is known by its failed attempt alone."""
        is_undo = any(
            plan.current is not None and plan.place == position and plan.current.kind is not DebtKind.CALL
            for plan in self.plans
        )
        return Kind.UNDO if is_undo else Kind.STEP

    def _on_signal(self, name: str) -> None:
        for plan in self.plans:
            plan.hear(name)
        if self.ending is not None and self.undoing is None:
            return
        waiting = (c.position for c in self.open.values() if c.kind is Kind.SIGNAL and c.name == name)
        position = next(waiting, None)
        if position is not None:
            del self.open[position]


def _count(args: bytes) -> int:
    """How many calls a map has, as its arguments say."""
    return int(json.loads(args)["count"])
