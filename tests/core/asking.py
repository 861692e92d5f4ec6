"""Commands and events in few words, for tests of the pure core; and an interpreter that remembers what it was fed.

Commands are those of the core itself, without the language layer above it: arguments and values are plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from qwit_durable.core import (
    Advance,
    AttemptFailed,
    CallStep,
    CallWorkflow,
    CancelRequested,
    Cause,
    Compensate,
    Decision,
    Dropped,
    Event,
    Finish,
    Gather,
    Halt,
    Interpreter,
    Kind,
    MapSteps,
    Outcome,
    Program,
    Race,
    Record,
    Resolved,
    Saga,
    Scheduled,
    SignalReceived,
    Sleep,
    TimerFired,
    Unwind,
    UnwindStarted,
    Value,
    WaitSignal,
)
from qwit_durable.errors import EncodingError, Failure

NOTHING = b"null"


def encode(value: Any) -> bytes:
    """Canonical JSON, or what the codec says of a value that is none."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except TypeError as error:
        raise EncodingError(str(error)) from None


def decode(data: bytes) -> Any:
    return json.loads(data)


# -- what a body asks for ------------------------------------------------------------------------------------------


def step(name: str, *args: Any, undo: str | None = None, decode: Callable[[bytes], Any] = decode) -> CallStep:
    return CallStep(name=name, args=encode(args), undo_when=undo, decode=decode)  # type: ignore[arg-type]


def child(name: str, *args: Any) -> CallWorkflow:
    return CallWorkflow(name=name, args=encode(args), decode=decode)


def signal(name: str, *, decode: Callable[[bytes], Any] = decode) -> WaitSignal:
    return WaitSignal(name=name, decode=decode)


def compensate(name: str, *args: Any) -> Compensate:
    return Compensate(call=step(name, *args))


def record(name: str = "record") -> Record:
    return Record(name=name, produce=lambda: b"1", decode=decode)


def race(*members: Any) -> Race:
    return Race(members=members)


def saga(member: Any) -> Saga:
    return Saga(member=member)


def mapped(name: str, *items: Any, undo: str | None = None, limit: int | None = None) -> MapSteps:
    return MapSteps(
        name=name,
        args=encode({"count": len(items)}),
        items=tuple(map(encode, items)),
        undo_when=undo,  # type: ignore[arg-type]
        limit=limit,
        decode=decode,
    )


def gather(*members: Any, limit: int | None = None) -> Gather:
    return Gather(members=members, limit=limit)


SLEEP = Sleep()


# -- what is recorded ----------------------------------------------------------------------------------------------


def failure(text: str = "broken", kind: type[Exception] = ValueError, *, unknown: bool = False) -> Failure:
    return Failure.of(kind(text), outcome_unknown=unknown)


def resolved(
    position: str, command: Any, outcome: Outcome, *, attempt: int = 1, owes: bool = False
) -> Resolved:
    from qwit_durable.core.identity import identity

    kind, name, args = identity(command)
    return Resolved(
        position=position, kind=kind, name=name, args=args, outcome=outcome, attempt=attempt, owes=owes
    )


def done(position: str, command: Any, value: Any = None, *, owes: bool = False) -> Resolved:
    return resolved(position, command, Value(encode(value)), owes=owes)


def failed(
    position: str, command: Any, text: str = "broken", *, attempt: int = 1, unknown: bool = False
) -> Resolved:
    return resolved(position, command, failure(text, unknown=unknown), attempt=attempt)


def dropped(position: str, command: Any, *, begun: bool = False) -> Resolved:
    return resolved(position, command, Dropped(begun=begun))


def scheduled(position: str, command: Any, *, queued: bool = False) -> Scheduled:
    from qwit_durable.core.identity import identity

    kind, name, args = identity(command)
    return Scheduled(position=position, kind=kind, name=name, args=args, queued=queued)


def attempt_failed(position: str, name: str, attempt: int = 1) -> AttemptFailed:
    return AttemptFailed(position=position, name=name, attempt=attempt, failure=failure())


def fired(position: str) -> TimerFired:
    return TimerFired(position=position)


def sent(name: str, value: Any = None) -> SignalReceived:
    return SignalReceived(name=name, value=encode(value))


def undone(position: str, name: str) -> Resolved:
    return Resolved(position=f"~{position}", kind=Kind.UNDO, name=name, outcome=Value())


def undo_failed(position: str, name: str, text: str = "stays") -> Resolved:
    return Resolved(position=f"~{position}", kind=Kind.UNDO, name=name, outcome=failure(text))


CANCEL = CancelRequested()


# -- playing a run -------------------------------------------------------------------------------------------------


class Play:
    """One run of a body, fed by hand. Plans of undos are recorded as soon as they are decided, as the engine does."""

    def __init__(self, body: Callable[[], Any], **options: Any) -> None:
        self.program = Program(name="body", body=lambda _: body(), encode=encode, **options)
        self.interpreter = Interpreter(self.program)
        self.history: list[Event] = []
        self.decision: Decision = self.interpreter.feed(())
        self._unwind()

    def feed(self, *events: Event) -> Decision:
        """Record events; a decision to unwind is recorded at once."""
        self.history.extend(events)
        self.decision = self.interpreter.feed(events)
        self._unwind()
        return self.decision

    def _unwind(self) -> None:
        while isinstance(self.decision, Unwind):
            event = UnwindStarted(
                cause=self.decision.cause, plan=self.decision.plan, scope=self.decision.scope
            )
            self.history.append(event)
            self.decision = self.interpreter.feed([event])

    @property
    def advance(self) -> Advance:
        assert isinstance(self.decision, Advance), self.decision
        return self.decision

    @property
    def cause(self) -> Cause | None:
        """Why the undo is due that is to be begun."""
        return self.advance.begin[0].cause

    @property
    def begin(self) -> dict[str, str]:
        """What is to be begun: position to name."""
        return {p.position: _name(p.command) for p in self.advance.begin}

    @property
    def waiting(self) -> dict[str, str]:
        return {p.position: _name(p.command) for p in self.advance.waiting}

    @property
    def settle(self) -> dict[str, str]:
        return {p.position: _name(p.command) for p in self.advance.settle}

    @property
    def plan(self) -> list[str]:
        """Where the undos stand that are owed, in the order in which they are to run."""
        started = [event for event in self.history if isinstance(event, UnwindStarted)]
        assert len(started) == 1, started
        return [debt.position for debt in started[0].plan]

    @property
    def finish(self) -> Finish:
        assert isinstance(self.decision, Finish), self.decision
        return self.decision

    @property
    def value(self) -> Any:
        """What the body returned."""
        assert self.finish.value is not None, self.finish
        return json.loads(self.finish.value)

    @property
    def halt(self) -> Halt:
        assert isinstance(self.decision, Halt), self.decision
        return self.decision


def _name(command: Any) -> str:
    return getattr(command, "name", type(command).__name__.lower())
