"""The interpreter: a body driven by recorded facts.

`Interpreter(program).feed(events) -> Decision`. It holds no store, clock, thread, broker, logging or randomness. The
events of a run are fed in the order of their numbers, in one piece or in any slices: the decision at the head is the
same. It is incremental, so that a process that keeps it alive pays for new events only.

Rules of the file:

- A command's position is the path of its generator and its number in it, so that branches number themselves whoever
  finishes first. What is recorded at a position must have the kind, the name and the arguments of what the body asks
  for there; where the arguments differ, they are decoded with today's types and compared again. Anything else is a
  `Mismatch`: a decision, with nothing appended (`core.replay`).
- The body is resumed only by events. An uncaught error, a cancel or a deadline ends it; then what is still open is
  settled, and only then is the plan of owed undos decided. Once `UnwindStarted` is recorded for the run, the body is
  not asked any more (`core.unwind`), not even about mismatches. A scope of the body (a saga, the loser of a race) has a
  plan of its own in the same way, and the rest of the body goes on meanwhile.
- Where the body can't be asked, because it no longer matches or was misused, facts are taken down all the same
  (`core.salvage`), so that a cancel or a rollback undoes everything.
- The engine alone closes generators, with `close()`, on the thread that owns the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from qwit_durable.core.commands import CallStep
from qwit_durable.core.decision import Advance, Decision, Halt, Misuse, Parked, Pending, StartOver, Unwind
from qwit_durable.core.ending import Ending, cancelled, conclusion, late, of_body, rolled_back
from qwit_durable.core.events import (
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
    UnwindStarted,
)
from qwit_durable.core.frames import Raised
from qwit_durable.core.parking import Parking
from qwit_durable.core.program import Program
from qwit_durable.core.replay import Replay
from qwit_durable.core.scope import successes_needed
from qwit_durable.core.status import Verb
from qwit_durable.core.unwind import Unwinding

__all__ = ["Interpreter", "decide"]

_REFUSAL = (
    "what came of the failure (a scope was undone, a handler or a sub-workflow ran) can't be taken back"
)


class Interpreter:
    """Drives one run's body. See the module's rules.

    Attributes:
        generation: How often the body was restarted before.
        head: How many events were fed.
        reopened_at: Where in its parent's history this completed run was asked to undo what it did.
    """

    def __init__(self, program: Program, *, generation: int = 0) -> None:
        self._program = program
        self.generation = generation
        self.head = 0
        self.reopened_at = ""
        self._parking = Parking() if program.parks else None
        self._replay = Replay(program, self._parking)
        self._ending: Ending | None = None
        self._parked: Parked | None = None
        self._completed: Completed | None = None
        self._unwinding: Unwinding | None = None

    # -- the two verbs -----------------------------------------------------------------------------------------

    def feed(self, events: Iterable[Event]) -> Decision:
        """Take recorded events into account, in order, and decide at their end."""
        go_on = self._replay.go_on if self._is_under_way else None
        for event in events:
            self.head += 1
            if go_on is not None and type(event) is Resolved and go_on(event):
                if self._replay.body.end is None:
                    continue
                self._look()
            else:
                if self._parking is not None:
                    self._parking.take(event)
                self._take(event)
            go_on = self._replay.go_on if self._is_under_way else None
        if not self._replay.is_started:
            self._start()
        return self._decide()

    def close(self) -> None:
        """Close the body where it stands. The interpreter is of no use afterwards."""
        self._replay.body.close()

    @property
    def refusals(self) -> list[str]:
        """Messages about generators that did not close, for the log."""
        return self._replay.body.refusals

    @property
    def needless_timers(self) -> list[str]:
        """Positions whose timers nobody waits for any more; whoever reads it empties it."""
        return self._replay.body.needless_timers

    @property
    def was_reopened(self) -> bool:
        """Whether this completed run was asked by its parent to undo what it did."""
        return self._completed is not None and self._unwinding is not None

    # -- events ------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, Restarted):
            self._replay.begin_again(event)
        if not self._replay.is_started:
            self._start()
        self._apply(event)
        self._look()

    def _start(self) -> None:
        self._replay.start()
        self._look()

    def _apply(self, event: Event) -> None:
        match event:
            case Resolved() if self._unwinding is None and self._completed is None:  # the frequent one
                self._replay.apply(event, is_ending=self._is_asked_to_end)
            case UnwindStarted(cause=cause, plan=plan, scope=None):
                self._unwind(cause, plan)
            case Completed():
                self._completed = event
                self.close()
            case Reopened(at=at) if self._unwinding is not None:
                self.reopened_at = at
                self._unwinding.resume()
            case Reopened(cause=cause, at=at):
                self.reopened_at = at
                self._unwind(cause, self._completed.owed if self._completed is not None else ())
            case _ if self._unwinding is not None:
                self._unwinding.apply(event)
            case _ if self._completed is not None:
                pass
            case CancelRequested():
                self._end(cancelled(event, self._program.name))
            case DeadlinePassed():
                self._end(late(self._program.name))
            case OperatorActed(verb=Verb.ROLLBACK):
                self._replay.undo(event)  # what gave up in a scope is tried again
                self._end(rolled_back(event, self._parked.cause if self._parked is not None else None))
            case OperatorActed(verb=Verb.RETRY | Verb.SKIP) if self._is_parked:
                self._try_again(event)
            case OperatorActed():
                self._replay.undo(event)
            case _:
                self._replay.apply(event, is_ending=self._is_asked_to_end)

    def _unwind(self, cause: Cause, plan: tuple[Debt, ...]) -> None:
        self.close()
        self._unwinding = Unwinding(cause, plan, self._program.on_undo_failure)

    # -- ends --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Take in whether the body has ended by itself."""
        end = self._replay.body.end
        if end is None or self._ending is not None or self._parked is not None:
            return
        ending = of_body(end, self._program.encode)
        if self._parking is not None and ending.cause is not None:
            position = self._parking.position_of(end.error) if isinstance(end, Raised) else None
            self._parked = Parked(cause=ending.cause, position=position)
        else:
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        """End the body; the first cause wins, but a restart is no end to whoever wants one."""
        is_open = self._ending is None or self._ending.restart is not None
        if is_open or (self._replay.wrong is not None and not self._is_asked_to_end):
            self._ending = ending
            self._replay.body.stop(undoes=ending.compensate)

    @property
    def _is_under_way(self) -> bool:
        """Whether nothing but the body decides what comes next."""
        return (
            self._ending is None
            and self._unwinding is None
            and self._completed is None
            and self._parking is None
        )

    @property
    def _is_asked_to_end(self) -> bool:
        return self._ending is not None and self._ending.is_asked

    @property
    def _is_parked(self) -> bool:
        return self._parked is not None and not self._is_asked_to_end

    def _try_again(self, decision: OperatorActed) -> None:
        """Replay a parked run as if the step that failed had no outcome yet, or another one.

        Where what came of the failure does not fit that any more, the run stays parked.
        """
        assert self._parking is not None
        assert self._parked is not None
        before, parked, parking = self._replay, self._parked, self._parking.copy()
        taken = parking.take_back(parked.position, decision)
        if taken is None:
            self._parked = attrs.evolve(parked, refusal=_REFUSAL if parked.position is not None else "")
            return
        self._replay, self._parked = Replay(self._program, parking), None
        for event in taken.facts:
            self._take(event)
        if (wrong := self._replay.wrong) is not None:
            self.close()
            refusal = wrong.message if isinstance(wrong, Misuse) else _REFUSAL
            self._replay, self._parked = before, attrs.evolve(parked, refusal=refusal)
            return
        before.body.close()
        self._parking = parking
        for outcome in taken.outcomes:
            entry = self._replay.body.open.get(outcome.position)
            if entry is not None and isinstance(entry.command, CallStep):
                entry.pending = attrs.evolve(entry.pending, begun=True)
                self._replay.debts.settle(entry.command, outcome, entry.pending.given)

    # -- deciding ----------------------------------------------------------------------------------------------

    def _decide(self) -> Decision:
        if self._unwinding is not None:
            return self._unwinding.decide()
        if self._completed is not None:
            return conclusion(Ending(value=self._completed.value), self._completed.owed, is_child=True)
        if (reason := self._replay.wrong or self._parked) is not None and not self._is_asked_to_end:
            return Halt(reason=reason)
        body = self._replay.body
        if self._ending is not None and not body.open and not body.closings:
            return self._conclude(self._ending)
        if body.closings and (decision := self._scopes()) is not None:
            return decision
        return self._advance()

    def _scopes(self) -> Decision | None:
        """What a scope of the body needs before anything else: its plan to be written down, or a person."""
        for closing in self._replay.body.closings:
            if closing.unwinding is None and closing.plan:
                return Unwind(cause=closing.cause, plan=closing.plan, scope=closing.scope)
        standstill = self._replay.standstill
        return None if standstill is None or standstill.unwinding is None else standstill.unwinding.decide()

    def _advance(self) -> Advance:
        body = self._replay.body
        if len(body.open) == 1 and not body.closings:
            [entry] = body.open.values()
            if entry.to_begin:  # the frequent one
                return Advance(begin=(entry.pending,), awaiting=entry.left or entry.missing)
        begin: list[Pending] = []
        waiting: list[Pending] = []
        settle: list[Pending] = []
        for closing in body.closings:
            if closing.unwinding is not None and isinstance(undo := closing.unwinding.decide(), Advance):
                begin += undo.begin
                waiting += undo.waiting
        awaiting = 1 if begin or waiting else successes_needed(body.open)
        for entry in body.open.values():
            if entry.is_settled:
                continue
            part = settle if entry.settling else begin if entry.to_begin else waiting
            part.append(entry.pending)
        return Advance(begin=tuple(begin), waiting=tuple(waiting), settle=tuple(settle), awaiting=awaiting)

    def _conclude(self, ending: Ending) -> Decision:
        debts, mailbox = self._replay.debts, self._replay.body.mailbox
        plan = debts.newest_first()
        if debts.in_doubt is not None and ending.cause is not None and ending.compensate:
            raise debts.in_doubt
        if ending.restart is not None:
            owed = tuple(debt.before_restart(self.generation) for debt in reversed(plan))
            return StartOver(args=ending.restart, owed=owed, signals=mailbox.unread)
        return conclusion(ending, plan, is_child=self._program.is_child)


def decide(program: Program, history: Iterable[Event]) -> Decision:
    """The decision of a fresh interpreter fed everything."""
    interpreter = Interpreter(program)
    try:
        return interpreter.feed(history)
    finally:
        interpreter.close()
