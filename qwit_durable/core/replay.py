"""One replay of a body over the facts about its commands: each fact is compared with what the body asks for there.

What is recorded at a position must have the kind, the name and the arguments of what the body asks for; anything else
is a `Mismatch`. From there on, as from a misuse, the facts are taken down without the body (`core.salvage`). Facts
about the run itself are `core.interpreter`'s.
"""

from __future__ import annotations

import attrs

from qwit_durable.core.answering import answer_to
from qwit_durable.core.body import Body
from qwit_durable.core.building import Sink
from qwit_durable.core.commands import CallStep, Kind, Leaf, MapSteps, Sleep, WaitSignal
from qwit_durable.core.debts import Debts
from qwit_durable.core.decision import Finish, Mismatch, Misuse
from qwit_durable.core.events import (
    AttemptFailed,
    Event,
    OperatorActed,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
)
from qwit_durable.core.frames import Answer
from qwit_durable.core.identity import described, matches
from qwit_durable.core.maps import member_resolved, settled_map
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.core.parking import Parking
from qwit_durable.core.program import Program
from qwit_durable.core.salvage import Salvage
from qwit_durable.core.scope import Closing, Frame, Open
from qwit_durable.core.status import Verb
from qwit_durable.core.unwind import Unwinding
from qwit_durable.errors import SignalTimeout

__all__ = ["Replay"]

_ABOUT_COMMANDS = (Resolved, Scheduled, AttemptFailed)


class Replay:
    """A body under way, with what it owes.

    Attributes:
        wrong: Why the body can't be asked any more.
        standstill: The scope whose undos were the first to give up, among those that have.
        is_started: Whether the body has run to its first commands; before that, only `begin_again` may be told.
    """

    def __init__(self, program: Program, parking: Parking | None) -> None:
        self._program = program
        self._parking = parking
        self._args = program.args
        self.is_started = False
        self._salvage: Salvage | None = None
        self.debts = Debts()
        self.body = Body(self.debts, Sink(limit_bytes=program.limit_bytes, encode_args=program.encode_args))
        self.wrong: Mismatch | Misuse | None = None
        self.standstill: Closing | None = None

    def begin_again(self, event: Restarted) -> None:
        """What came along from before a restart; always the first fact."""
        self._args = event.args
        self.debts.bring(event.owed)
        self.body.mailbox.bring(event.signals)

    def start(self) -> None:
        """Run the body to its first commands."""
        self.is_started = True
        try:
            generator = self._program.body(self._args)
        except Exception as error:  # noqa: BLE001 - stored arguments that today's code can't take
            message = (
                f"the stored arguments of workflow {self._program.name!r} don't fit today's code: "
                f"{type(error).__name__}: {error}\n  way out: give new parameters and fields defaults, then retry"
            )
            self._halt(Misuse(message=message))
            return
        self.body.start(generator)
        self._look()

    def go_on(self, event: Resolved) -> bool:
        """Take in what most facts are: the value of a step that a generator waits for by itself. False: it is another.

        Nothing here that `apply` does not do, only without the ways of all other facts.
        """
        body = self.body
        entry = body.open.get(event.position)
        if entry is None or self._salvage is not None or entry.settling:
            return False
        command, outcome, frame = entry.pending.command, event.outcome, entry.target
        if not (type(command) is CallStep and type(outcome) is Value and type(frame) is Frame):
            return False
        if event.kind is not Kind.STEP or event.name != command.name or event.args != command.args:
            return False
        if frame.closed:
            return False
        try:
            value = command.decode(outcome.data)
        except Exception:  # noqa: BLE001 - types of the user's take part in it; `apply` says what comes of it
            return False
        if command.undo_when is not None or command.takes_over is not None:
            self.debts.settle(command, event, entry.pending.given)
        body.give(entry, frame, value)
        if body.wrong is not None:
            self._look()
        return True

    def apply(self, event: Event, *, is_ending: bool) -> None:
        """Take one fact into account. `is_ending`: everything is being settled, and nothing is asked of the body."""
        if isinstance(event, _ABOUT_COMMANDS) and event.position.startswith("~"):
            self.undo(event)
        elif self._salvage is not None and not is_ending:
            self._salvage.apply(event)
        else:
            self._apply(event)
            self._look()

    def undo(self, event: Event) -> None:
        """A fact about the undos of scopes. What is skipped is what the run stands still over: one scope's."""
        skips = isinstance(event, OperatorActed) and event.verb is Verb.SKIP
        for closing in self.body.closings:
            if closing.unwinding is None or (skips and closing is not self.standstill):
                continue
            closing.unwinding.apply(event)
            if isinstance(closing.unwinding.decide(), Finish):
                self.body.finish(closing)
        if self.standstill is None or not self.standstill.has_given_up:
            self.standstill = next((one for one in self.body.closings if one.has_given_up), None)
        self._look()

    def _look(self) -> None:
        if self.body.wrong is not None and self.wrong is None:
            self._halt(Misuse(message=self.body.wrong))

    def _halt(self, reason: Mismatch | Misuse) -> None:
        self.wrong = reason
        self.body.close()
        self._salvage = Salvage(self.body, self.debts, self._program)

    # -- facts -------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        match event:
            case Resolved():
                (self._on_map if event.kind is Kind.MAP else self._on_resolved)(event)
            case Scheduled():
                self._on_scheduled(event)
            case AttemptFailed(position=position, attempt=attempt, retry_at=retry_at, began_at=began_at):
                if (entry := self.body.open.get(position)) is not None:
                    first = entry.pending.began_at or began_at
                    entry.pending = attrs.evolve(
                        entry.pending, attempts=attempt, retry_at=retry_at, began_at=first
                    )
            case TimerFired(position=position):
                self._on_timer(position)
            case UnwindStarted(scope=str(scope)):
                self._on_unwinding(event, scope)
            case SignalReceived(name=name):
                undoing = self.body.closings.awaiting(name)
                if undoing is not None:
                    undoing.apply(event)
                else:
                    self.body.hear(event)
            case _:
                pass

    def _on_unwinding(self, event: UnwindStarted, scope: str) -> None:
        closing = self.body.closings.planned(scope)
        while closing is None and self.body.pass_patches(scope):
            closing = self.body.closings.planned(scope)
        if closing is None:
            self._mismatch(event, None, self._expected)
            return
        self.debts.hand_over(event.plan)
        closing.unwinding = Unwinding(event.cause, event.plan, self._program.on_undo_failure)

    def _on_scheduled(self, event: Scheduled) -> None:
        entry = self._matching(event)
        if entry is None:
            return
        entry.hand_over(event)
        if isinstance(entry.command, CallStep) and entry.command.undo_when == "attempted":
            self.debts.owe_step(event.position, event.name, event.given or event.args)

    def _on_resolved(self, event: Resolved) -> None:
        entry = self._matching(event)
        if entry is None:
            return
        if isinstance(event.outcome, Dropped) and not self._is_settling(entry, event):
            return
        answer = answer_to(entry.command, event)
        if isinstance(answer, Answer) and answer.error is not None:
            self._raised(answer.error, event)
        self.debts.settle(entry.command, event, entry.pending.given)
        self.body.resolve(entry, answer)

    def _on_map(self, event: Resolved) -> None:
        """The outcome of one call of a map, or that the map was settled."""
        opened = self.body.open
        whole = event.position.rpartition(".")[0]
        while event.position not in opened and whole not in opened and self.body.wrong is None:
            if not self.body.pass_patches(event.position):
                break
        entry = opened.get(event.position)
        if entry is not None and isinstance(entry.command, MapSteps):
            if self._is_settling(entry, event):
                settled_map(self.body, entry, event)
            return
        entry = opened.get(whole)
        if entry is None or not isinstance(entry.command, MapSteps) or entry.command.name != event.name:
            self._mismatch(event, None if entry is None else entry.command, self._expected)
            return
        self.debts.settle(entry.command, event)
        error = member_resolved(self.body, entry, event)
        if error is not None:
            self._raised(error, event)

    def _is_settling(self, entry: Open, event: Resolved) -> bool:
        while not entry.settling and self.body.pass_patches(event.position):
            pass
        if not entry.settling and self.body.wrong is None:
            self._mismatch(event, None, f"{described(entry.command)}, which the body still waits for")
        return entry.settling

    def _on_timer(self, position: str) -> None:
        entry = self.body.open.get(position)
        match entry.command if entry is not None else None:
            case Sleep():
                answer = Answer()
            case WaitSignal(name=name):
                answer = Answer(error=SignalTimeout(name))
            case _:
                return
        assert entry is not None
        self.body.resolve(entry, answer)

    def _raised(self, error: BaseException, event: Resolved) -> None:
        if self._parking is not None:
            self._parking.raised(error, event)

    # -- matching ----------------------------------------------------------------------------------------------

    def _matching(self, event: Scheduled | Resolved) -> Open | None:
        while (entry := self.body.open.get(event.position)) is None:
            if event.kind is Kind.PATCH:
                return None  # today's body does not ask any more
            is_dropped = isinstance(event, Resolved) and isinstance(event.outcome, Dropped)
            if is_dropped and self.body.drop_patch(event.position):
                return None
            if not self.body.pass_patches(event.position):
                break
            if self.body.wrong is not None:
                return None
        if entry is not None and matches(event, entry.command):
            return entry
        self._mismatch(event, None if entry is None else entry.command, self._expected)
        return None

    @property
    def _expected(self) -> str:
        """What the body waits for, where something is recorded that it does not ask for."""
        other = next(iter(self.body.open.values()), None)
        if other is None:
            return "nothing: the body has ended by then"
        return f"nothing: the body waits for {described(other.command)} at {other.position}"

    def _mismatch(self, event: Scheduled | Resolved | UnwindStarted, found: Leaf | None, text: str) -> None:
        shown = "" if found is not None else text
        recorded = event
        if isinstance(event, UnwindStarted):
            recorded = Scheduled(position=event.scope or "", kind=Kind.UNDO, name="scope")
        assert isinstance(recorded, Scheduled | Resolved)
        self._halt(Mismatch(position=recorded.position, recorded=recorded, found=found, found_text=shown))
        assert self._salvage is not None
        self._salvage.apply(event)
