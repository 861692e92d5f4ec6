"""The interpreter: a body driven by recorded facts.

`Interpreter(program).feed(events) -> Decision`. It holds no store, clock, thread, broker, logging or randomness. The
events of a run are fed in the order of their numbers, in one piece or in any slices: the decision at the head is the
same. It is incremental, so that a process that keeps it alive pays for new events only.

Rules of the file:

- A command's position is the path of its generator and its number in it, so that branches number themselves whoever
  finishes first. What is recorded at a position must have the kind, the name and the arguments of what the body asks
  for there; where the arguments differ, they are decoded with today's types and compared again. Anything else is a
  `Mismatch`: a decision, with nothing appended.
- The body is resumed only by events. An uncaught error, a cancel or a deadline ends it; then what is still open is
  settled, and only then is the plan of owed undos decided. Once `UnwindStarted` is recorded the body is not asked any
  more (`core.unwind`), not even about mismatches.
- The engine alone closes generators, with `close()`, on the thread that owns the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from qwit_durable.core.body import Body
from qwit_durable.core.commands import Branch, CallStep, CallWorkflow, Leaf, Sleep, WaitSignal
from qwit_durable.core.debts import Debts
from qwit_durable.core.decision import Advance, Decision, Finish, Halt, Mismatch, Misuse, Unwind
from qwit_durable.core.events import (
    AttemptFailed,
    CancelRequested,
    Cause,
    Completed,
    DeadlinePassed,
    Debt,
    Event,
    OperatorActed,
    Reopened,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
)
from qwit_durable.core.frames import Answer, Raised, Returned
from qwit_durable.core.identity import identity, matches
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.core.scope import Open, successes_needed
from qwit_durable.core.status import Status
from qwit_durable.core.unwind import OnUndoFailure, Unwinding
from qwit_durable.errors import (
    ChildFailed,
    DeadlineExceeded,
    Failure,
    SignalTimeout,
    StepFailed,
    WorkflowCancelled,
)

__all__ = ["Interpreter", "Program", "decide"]


@attrs.frozen(kw_only=True)
class Program:
    """What an interpreter runs.

    Attributes:
        name: The workflow's name, for messages.
        body: A factory of fresh generators.
        encode: Turns the body's value into canonical JSON, or raises `EncodingError`.
        is_child: Whether a parent may yet ask this run to undo what it did.
        on_undo_failure: What follows an undo that gave up.
        limit_bytes: The largest arguments a command may carry, encoded.
    """

    name: str
    body: Callable[[], Branch]
    encode: Callable[[Any], bytes]
    is_child: bool = False
    on_undo_failure: OnUndoFailure = "stop"
    limit_bytes: int | None = None


@attrs.frozen
class _Ending:
    """How the run is to end: with the body's value, or with a cause."""

    value: bytes | None = None
    cause: Cause | None = None
    compensate: bool = True


class Interpreter:
    """Drives one run's body. See the module's rules.

    Attributes:
        head: How many events were fed.
        reopened_at: Where in its parent's history this completed run was asked to undo what it did.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.head = 0
        self._body = Body(limit_bytes=program.limit_bytes)
        self._debts = Debts()
        self._ending: _Ending | None = None
        self._completed: Completed | None = None
        self._unwinding: Unwinding | None = None
        self._halt: Halt | None = None
        self._started = False
        self.reopened_at = ""

    # -- the two verbs -----------------------------------------------------------------------------------------

    def feed(self, events: Iterable[Event]) -> Decision:
        """Take recorded events into account, in order, and decide at their end."""
        if not self._started:
            self._start()
        for event in events:
            self.head += 1
            self._apply(event)
        return self._decide()

    def close(self) -> None:
        """Close the body where it stands. The interpreter is of no use afterwards."""
        self._body.close()

    @property
    def refusals(self) -> list[str]:
        """Messages about generators that did not close, for the log."""
        return self._body.refusals

    @property
    def needless_timers(self) -> list[str]:
        """Positions whose timers nobody waits for any more; whoever reads it empties it."""
        return self._body.needless_timers

    @property
    def was_reopened(self) -> bool:
        """Whether this completed run was asked by its parent to undo what it did."""
        return self._completed is not None and self._unwinding is not None

    # -- events ------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        match event:
            case UnwindStarted(cause=cause, plan=plan):
                self._unwind(cause, plan)
            case Completed():
                self._completed = event
                self._body.close()
            case Reopened(at=at) if self._unwinding is not None:
                self.reopened_at = at
                self._unwinding.resume()
            case Reopened(cause=cause, at=at):
                self.reopened_at = at
                self._unwind(cause, self._completed.owed if self._completed is not None else ())
            case _ if self._unwinding is not None:
                self._unwinding.apply(event)
            case _ if self._halt is not None or self._completed is not None:
                pass
            case Scheduled():
                self._on_scheduled(event)
            case Resolved():
                self._on_resolved(event)
            case AttemptFailed(position=position, attempt=attempt, retry_at=retry_at, began_at=began_at):
                if (entry := self._body.open.get(position)) is not None:
                    entry.attempts, entry.retry_at = attempt, retry_at
                    entry.began_at = entry.began_at or began_at
            case TimerFired(position=position):
                self._on_timer(position)
            case SignalReceived(name=name, value=value):
                self._body.hear(name, value)
                self._look()
            case CancelRequested(reason=reason, compensate=compensate):
                failure = Failure.of(WorkflowCancelled("", self._program.name, None))
                failure = attrs.evolve(failure, message=reason or "cancelled")
                self._end(_Ending(cause=Cause(failure=failure, cancelled=True), compensate=compensate))
            case DeadlinePassed():
                late = DeadlineExceeded(f"the deadline of workflow {self._program.name!r} has passed")
                self._end(_Ending(cause=Cause(failure=Failure.of(late))))
            case OperatorActed() | Restarted():
                pass

    def _on_scheduled(self, event: Scheduled) -> None:
        entry = self._matching(event)
        if entry is None:
            return
        entry.scheduled, entry.queued, entry.due = True, event.queued, event.due
        if isinstance(entry.command, CallStep) and entry.command.undo_when == "attempted":
            self._debts.owe_step(event.position, event.name, event.args)

    def _on_resolved(self, event: Resolved) -> None:
        entry = self._matching(event)
        if entry is None:
            return
        answer: Answer | bytes
        match event.outcome:
            case Value(data=data):
                answer = data
            case Failure() as failure if isinstance(entry.command, CallWorkflow):
                answer = Answer(error=ChildFailed(event.name, failure))
            case Failure() as failure:
                answer = Answer(error=StepFailed(event.name, failure, event.attempt))
            case Dropped() if entry.settling:
                answer = Answer()
            case Dropped():
                self._mismatch(event, None, f"{_described(entry)}, which the body still waits for")
                return
        self._debts.settle(entry.command, event)
        self._body.resolve(entry, answer)
        self._look()

    def _on_timer(self, position: str) -> None:
        entry = self._body.open.get(position)
        match entry.command if entry is not None else None:
            case Sleep():
                answer = Answer()
            case WaitSignal(name=name):
                answer = Answer(error=SignalTimeout(name))
            case _:
                return
        assert entry is not None
        self._body.resolve(entry, answer)
        self._look()

    def _matching(self, event: Scheduled | Resolved) -> Open | None:
        entry = self._body.open.get(event.position)
        if entry is not None and matches(event, entry.command):
            return entry
        if entry is not None:
            self._mismatch(event, entry.command, "")
        elif (other := next(iter(self._body.open.values()), None)) is not None:
            self._mismatch(
                event, None, f"nothing: the body waits for {_described(other)} at {other.position}"
            )
        else:
            self._mismatch(event, None, "nothing: the body has ended by then")
        return None

    def _mismatch(self, event: Scheduled | Resolved, found: Leaf | None, text: str) -> None:
        self._stop(Mismatch(position=event.position, recorded=event, found=found, found_text=text))

    def _stop(self, reason: Mismatch | Misuse) -> None:
        self._halt = Halt(reason=reason)
        self._body.close()

    # -- the body ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._started = True
        try:
            generator = self._program.body()
        except Exception as error:  # noqa: BLE001 - stored arguments that today's code can't take
            message = (
                f"the stored arguments of workflow {self._program.name!r} don't fit today's code: "
                f"{type(error).__name__}: {error}\n  way out: give new parameters and fields defaults, then retry"
            )
            self._stop(Misuse(message=message))
            return
        self._body.start(generator)
        self._look()

    def _look(self) -> None:
        """Take in what became of the body."""
        if self._body.wrong is not None:
            self._stop(Misuse(message=self._body.wrong))
        elif self._body.end is not None and self._ending is None:
            self._end(self._ending_of(self._body.end))

    def _ending_of(self, end: Returned | Raised) -> _Ending:
        if isinstance(end, Raised):
            return _Ending(cause=Cause(failure=Failure.of(end.error)))
        try:
            return _Ending(value=self._program.encode(end.value))
        except Exception as error:  # noqa: BLE001 - as if the body's last line had raised it
            return _Ending(cause=Cause(failure=Failure.of(error)))

    # -- ends --------------------------------------------------------------------------------------------------

    def _end(self, ending: _Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._body.stop()

    def _unwind(self, cause: Cause, plan: tuple[Debt, ...]) -> None:
        self._body.close()
        self._unwinding = Unwinding(cause, plan, self._program.on_undo_failure)

    def _decide(self) -> Decision:
        if self._unwinding is not None:
            return self._unwinding.decide()
        if self._completed is not None:
            return Finish(status=Status.COMPLETED, value=self._completed.value, owed=self._completed.owed)
        if self._halt is not None:
            return self._halt
        entries = self._body.open
        if self._ending is not None and not entries:
            return self._conclude(self._ending)
        return Advance(
            begin=tuple(e.as_pending() for e in entries.values() if e.to_begin),
            waiting=tuple(e.as_pending() for e in entries.values() if not e.to_begin and not e.settling),
            settle=tuple(e.as_pending() for e in entries.values() if e.settling),
            awaiting=successes_needed(entries),
        )

    def _conclude(self, ending: _Ending) -> Decision:
        plan = self._debts.newest_first()
        if ending.cause is None:
            return Finish(
                status=Status.COMPLETED,
                value=ending.value,
                owed=plan if self._program.is_child else (),
            )
        if plan and ending.compensate:
            return Unwind(cause=ending.cause, plan=plan)
        status = Status.CANCELLED if ending.cause.cancelled else Status.FAILED
        return Finish(status=status, failure=ending.cause.failure)


def _described(entry: Open) -> str:
    kind, name, _ = identity(entry.command)
    site = entry.command.site
    return f"{kind} {name!r} ({site})" if site is not None else f"{kind} {name!r}"


def decide(program: Program, history: Iterable[Event]) -> Decision:
    """The decision of a fresh interpreter fed everything."""
    interpreter = Interpreter(program)
    try:
        return interpreter.feed(history)
    finally:
        interpreter.close()
