"""What stands and what is owed, read from the facts alone, where the body can't be asked.

A run whose code no longer matches its history keeps everything. It may still be cancelled or rolled back: what was
recorded beyond the place of the mismatch has to be settled and undone like the rest. So from that place on the facts
are taken down without the body, each with a command that is as good as the one that was asked for.
"""

from __future__ import annotations

import attrs

from qwit_durable.core.body import Body
from qwit_durable.core.commands import (
    CallStep,
    CallWorkflow,
    Compensate,
    Kind,
    Leaf,
    MapSteps,
    Record,
    Sleep,
    WaitSignal,
    When,
)
from qwit_durable.core.debts import Debts
from qwit_durable.core.decision import Pending
from qwit_durable.core.events import (
    AttemptFailed,
    Cause,
    Debt,
    Event,
    Resolved,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
)
from qwit_durable.core.frames import Answer
from qwit_durable.core.outcome import Dropped
from qwit_durable.core.program import Program
from qwit_durable.core.scope import Closing, Frame, Open
from qwit_durable.core.unwind import Unwinding
from qwit_durable.errors import UnknownName

__all__ = ["Salvage"]


def _nothing() -> bytes:
    return b"null"


class Salvage:
    """Keeps the open commands and the debts of a halted body up to date."""

    def __init__(self, body: Body, debts: Debts, program: Program) -> None:
        self._body = body
        self._debts = debts
        self._program = program
        # Nobody is told what becomes of what: the body is closed.
        self._nobody = Frame((_ for _ in ()), prefix="", target=None, closed=True)
        # What was asked for and is recorded nowhere has had no effect; a scope whose undoing is recorded nowhere is
        # one of today's code alone: what it owes is the run's.
        body.closings.forget_unplanned()
        for position, entry in list(body.open.items()):
            entry.closing = None
            known = entry.pending
            if not (known.scheduled or known.attempts or known.handed):
                del body.open[position]

    def apply(self, event: Event) -> None:
        """Take one recorded fact into account."""
        entries = self._body.open
        match event:
            case Scheduled():
                self._on_scheduled(event)
            case AttemptFailed(position=position, attempt=attempt) if position in entries:
                entry = entries[position]
                entry.pending = attrs.evolve(entry.pending, attempts=attempt)
            case Resolved():
                self._on_resolved(event)
            case TimerFired(position=position) if position in entries:
                if isinstance(entries[position].command, Sleep | WaitSignal):
                    del entries[position]
            case UnwindStarted(cause=cause, plan=plan, scope=str(scope)):
                self._on_unwinding(scope, cause, plan)
            case SignalReceived(name=name):
                undoing = self._body.closings.awaiting(name)
                if undoing is not None:
                    undoing.apply(event)
            case _:
                pass

    def _on_scheduled(self, event: Scheduled) -> None:
        command = self._command_of(event)
        fresh = Open(Pending(position=event.position, command=command), self._nobody)
        self._body.open.setdefault(event.position, fresh).hand_over(event)
        if isinstance(command, CallStep) and command.undo_when == "attempted":
            self._debts.owe_step(event.position, event.name, event.given or event.args)

    def _on_unwinding(self, scope: str, cause: Cause, plan: tuple[Debt, ...]) -> None:
        self._debts.hand_over(plan)
        unwinding = Unwinding(cause, plan, self._program.on_undo_failure)
        self._body.closings.add(Closing(scope, undoes=True, cause=cause, plan=plan, unwinding=unwinding))

    def _on_resolved(self, event: Resolved) -> None:
        entry = self._body.open.get(event.position)
        if entry is None and event.kind is Kind.MAP and not self._is_call(event.position):
            return  # a map that was dropped before any of its calls was handed over
        if entry is None or not isinstance(entry.command, MapSteps):
            self._debts.settle(self._command_of(event), event, None if entry is None else entry.pending.given)
        if entry is None:
            self._on_call(event)
            return
        if isinstance(event.outcome, Dropped) and event.outcome.left:
            entry.left = event.outcome.left
        else:
            self._settled(entry)

    def _is_call(self, position: str) -> bool:
        whole = self._body.open.get(position.rpartition(".")[0])
        return whole is not None and isinstance(whole.command, MapSteps)

    def _on_call(self, event: Resolved) -> None:
        """A call of a map has its outcome; a map that was settled waits for those that were under way."""
        entry = self._body.open.get(event.position.rpartition(".")[0])
        if entry is None or not entry.left or event.kind is not Kind.MAP:
            return
        entry.left -= 1
        if not entry.left:
            self._settled(entry)

    def _settled(self, entry: Open) -> None:
        if entry.settling:
            self._body.resolve(entry, Answer())
        else:
            del self._body.open[entry.position]

    def _undo_when(self, name: str) -> When | None:
        try:
            return self._program.undo_when(name)
        except UnknownName as error:
            self._debts.in_doubt = error
            return None

    def _command_of(self, event: Scheduled | Resolved) -> Leaf:
        name, args, undo_when = event.name, event.args, self._undo_when
        match event.kind:
            case Kind.STEP:
                return CallStep(name=name, args=args, undo_when=undo_when(name))
            case Kind.MAP:
                return MapSteps(name=name, args=args, items=(), undo_when=undo_when(name))
            case Kind.WORKFLOW:
                return CallWorkflow(name=name, args=args)
            case Kind.COMPENSATE:
                return Compensate(call=CallStep(name=name, args=args))
            case Kind.SLEEP:
                return Sleep()
            case Kind.SIGNAL:
                return WaitSignal(name=name)
            case Kind.RECORD | Kind.PATCH | Kind.PUBLISH | Kind.GATHER | Kind.UNDO:
                return Record(name=name, produce=_nothing)
