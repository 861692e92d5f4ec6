"""A simulated world that answers the decisions about a random program with events in any order it likes.

The world keeps no more than the tables of a store: tasks, timers, sub-workflows. It appends what a holder of the run
would (what the decision asks for) and what others would at any moment (an attempt that ends, a timer that fires, a
signal, a cancel), also when nobody waits for it any more, and between a decision and what the holder makes of it.

It keeps a ledger of what was done and undone, which is what histories are checked against. Programs: `trees`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from qwit_durable.core import (
    Advance,
    CallStep,
    CallWorkflow,
    CancelRequested,
    Compensate,
    DeadlinePassed,
    Decision,
    Dropped,
    Event,
    Finish,
    Halt,
    Info,
    Interpreter,
    Kind,
    MapSteps,
    Mismatch,
    OperatorActed,
    Parked,
    Patched,
    Pending,
    Program,
    Publish,
    Record,
    Resolved,
    Restarted,
    Scheduled,
    Sleep,
    StartOver,
    Undo,
    UndoGaveUp,
    UndoRun,
    Unwind,
    UnwindStarted,
    Value,
    Verb,
    WaitSignal,
    origin_of,
)
from qwit_durable.core.scope import lies_in
from tests.core import asking
from tests.core.trees import Notes

__all__ = ["Run", "World", "owed_at", "plans", "play"]

Action = Callable[[], list[Event]]
Key = tuple[int, str]


@attrs.define
class _Task:
    command: Any
    attempt: int = 0
    is_cancelled: bool = False
    needs: str | None = None


@attrs.define
class Ledger:
    """What was done to the outside and undone again, by generation and position.

    Attributes:
        places: Where in its tree each effect has its command.
        given: Steps that a person took as done; some of them were not to be taken so.
        skipped: Undos that a person took as done.
    """

    places: dict[Key, str] = attrs.field(factory=dict)
    done: list[Key] = attrs.field(factory=list)
    undone: list[Key] = attrs.field(factory=list)
    skipped: list[Key] = attrs.field(factory=list)
    given: set[Key] = attrs.field(factory=set)

    def do(self, key: Key, place: str) -> None:
        self.places[key] = place
        if key not in self.done:
            self.done.append(key)

    def undo(self, key: Key) -> None:
        assert key in self.done or key in self.given, f"{key} was never done"
        assert key not in self.undone, f"{key} is undone twice"
        self.undone.append(key)

    @property
    def gone(self) -> set[Key]:
        """What does not stand any more, or was taken as undone."""
        return {*self.undone, *self.skipped} - self.given


@attrs.define
class World:
    """What stands around one run, and how it answers.

    Attributes:
        asks: How many more cancels, deadlines and rollbacks may come.
    """

    chance: random.Random
    asks: int = 1
    generation: int = 0
    ledger: Ledger = attrs.field(factory=Ledger)
    tasks: dict[str, _Task] = attrs.field(factory=dict)
    timers: set[str] = attrs.field(factory=set)
    children: dict[str, _Task] = attrs.field(factory=dict)
    begun: set[str] = attrs.field(factory=set)
    resolved: set[str] = attrs.field(factory=set)
    settled: set[str] = attrs.field(factory=set)
    forgiven: set[str] = attrs.field(factory=set)
    is_asked: bool = False
    is_unwound: bool = False

    def answer(self, decision: Decision) -> list[Event]:
        """What is recorded next; nothing once the run has ended."""
        events = self._answer(decision)
        for event in events:
            if isinstance(event, Resolved):
                assert event.position not in self.resolved, f"{event.position} has two outcomes"
                self.resolved.add(event.position)
            if isinstance(event, UnwindStarted) and event.scope is None:
                self.is_unwound = True
        return events

    def _answer(self, decision: Decision) -> list[Event]:
        if isinstance(decision, Finish):
            return []
        if (asked := self._ask(decision)) is not None:
            return [asked]
        if not isinstance(decision, Advance) and self.chance.random() < 0.2:
            others = list(self._others(stands_still=isinstance(decision, Halt)))
            if others:
                return self.chance.choice(others)()
        match decision:
            case Unwind(cause=cause, plan=plan, scope=scope):
                return [UnwindStarted(cause=cause, plan=plan, scope=scope)]
            case StartOver(args=args, owed=owed, signals=signals):
                return self._start_over(Restarted(args=args, owed=owed, signals=signals))
            case Halt(reason=UndoGaveUp() as reason):
                return self._decide_undo(reason)
            case Halt(reason=Parked(position=position)):
                return self._decide_parked(position)
            case Halt(reason=Mismatch()):
                self.is_asked = True
                return [self.chance.choice([OperatorActed(verb=Verb.ROLLBACK), CancelRequested()])]
            case Halt():
                message = f"the run is stuck: {decision}"
                raise AssertionError(message)
            case Advance():
                return self._advance(decision)

    def _ask(self, decision: Decision) -> Event | None:
        """Somebody wants the run to end."""
        may = self.asks and not self.is_asked and not self.is_unwound
        if not may or self.chance.random() > 0.02:
            return None
        self.asks -= 1
        self.is_asked = True
        asked = [
            CancelRequested(compensate=self.chance.random() < 0.8),
            DeadlinePassed(),
            OperatorActed(verb=Verb.ROLLBACK),
        ]
        return self.chance.choice(asked)

    def _start_over(self, restarted: Restarted) -> list[Event]:
        assert not self.tasks, "a task outlives its generation"
        self.timers.clear()  # of waits that a signal answered
        assert not self.children, "a child outlives its generation"
        self.generation += 1
        self.begun.clear()
        self.resolved.clear()
        self.settled.clear()
        return [restarted]

    def _decide_undo(self, reason: UndoGaveUp) -> list[Event]:
        verb = self.chance.choice([Verb.RETRY, Verb.RETRY, Verb.SKIP])
        for debt, _ in reason.failed:
            if verb is Verb.SKIP:
                self.ledger.skipped.append(origin_of(debt.position, self.generation))
            self.resolved.discard(f"~{debt.position}")
            self.begun.discard(f"~{debt.position}")
        if verb is Verb.RETRY:
            # What others have given up is tried again as well.
            self.resolved = {p for p in self.resolved if not p.startswith("~") or self._is_undone(p)}
            self.begun = {p for p in self.begun if p in self.resolved or not p.startswith("~")}
        return [OperatorActed(verb=verb)]

    def _is_undone(self, position: str) -> bool:
        return origin_of(position.removeprefix("~"), self.generation) in self.ledger.gone

    def _decide_parked(self, position: str | None) -> list[Event]:
        verb = self.chance.choice([Verb.RETRY, Verb.RETRY, Verb.SKIP, Verb.ROLLBACK])
        if position is None or verb is Verb.ROLLBACK:
            self.is_asked = True
            return [OperatorActed(verb=Verb.ROLLBACK)]
        if self.chance.random() < 0.5:
            self.forgiven.add(position)
        if verb is Verb.SKIP:
            self.ledger.given.add((self.generation, position))
        # What is taken back has no outcome any more. Which that is, the interpreter knows: it is not held to it here.
        self.resolved.clear()
        self.begun.clear()
        self.settled.clear()
        self.asks = max(self.asks, 1)
        return [OperatorActed(verb=verb, value=b'"skipped"' if verb is Verb.SKIP else None)]

    def _advance(self, decision: Advance) -> list[Event]:
        if self.chance.random() < 0.05:
            return [asking.sent(self.chance.choice("ab"))]
        actions = [*self._holders(decision), *self._others()]
        if not actions:
            names = [p.command.name for p in decision.waiting if isinstance(p.command, WaitSignal)]
            assert names, f"nobody can do anything about {decision}"
            return [asking.sent(self.chance.choice(names))]
        return self.chance.choice(actions)()

    # What the holder of the run does about a decision.

    def _holders(self, decision: Advance) -> Iterator[Action]:
        for pending in decision.begin:
            yield lambda p=pending: self._begin(p)
        for pending in decision.settle:
            assert pending.position not in self.resolved, f"{pending.position} is settled after its outcome"
            if pending.position not in self.settled:
                yield lambda p=pending: self._settle(p)

    def _begin(self, pending: Pending) -> list[Event]:
        position, command = pending.position, pending.command
        assert position not in self.resolved, f"{position} is begun after its outcome"
        if not isinstance(command, CallStep | Undo | MapSteps):
            assert position not in self.begun, f"{position} is begun twice"
        self.begun.add(position)
        match command:
            case CallStep() | Undo() if not pending.scheduled and self.chance.random() < 0.5:
                assert position not in self.tasks, f"{position} is handed over twice"
                self.tasks[position] = _Task(command, attempt=pending.attempts)
                return [asking.scheduled(position, command, queued=True)]
            case CallStep(undo_when="attempted") if not pending.scheduled:
                return [asking.scheduled(position, command)]
            case CallStep() | Undo():
                return [self._attempt(position, _Task(command, attempt=pending.attempts))]
            case MapSteps():
                return [self._hand_over_calls(pending, command)]
            case CallWorkflow() | UndoRun():
                self.children[position] = _Task(command)
            case Sleep() | WaitSignal():
                if isinstance(command, Sleep) or command.timeout is not None:
                    self.timers.add(position)
            case Compensate():
                self.ledger.do((self.generation, position), asking.decode(command.call.args)[-1])
                return [asking.done(position, command, 1)]
            case Record() | Publish() | Patched() | Info():
                return [asking.done(position, command, 1)]
        return [asking.scheduled(position, command)]

    def _hand_over_calls(self, pending: Pending, command: MapSteps) -> Event:
        upto = min(pending.handed + self.chance.randint(1, 2), len(command.items))
        limit = command.limit or len(command.items)
        for index in range(pending.handed, upto):
            call = CallStep(name=command.name, args=command.items[index], undo_when=command.undo_when)
            needs = f"{pending.position}.{index - limit}" if index >= limit else None
            self.tasks[f"{pending.position}.{index}"] = _Task(call, needs=needs)
        return attrs.evolve(asking.scheduled(pending.position, command, queued=True), upto=upto)

    def _settle(self, pending: Pending) -> list[Event]:
        position = pending.position
        self.settled.add(position)
        self.timers.discard(position)
        begun = pending.begun or pending.attempts > 0 or (pending.scheduled and not pending.queued)
        if isinstance(pending.command, MapSteps):
            return self._settle_map(pending)
        if position in self.children:
            self.children[position].is_cancelled = True
            return []
        if position in self.tasks:
            task = self.tasks[position]
            if self.chance.random() < 0.5:
                task.is_cancelled = True
                return []
            del self.tasks[position]
            begun = task.attempt > 0
        is_step = isinstance(pending.command, CallStep)
        if begun and is_step and pending.command.undo_when == "attempted":
            self.ledger.do((self.generation, position), asking.decode(pending.command.args)[-1])
        return [asking.dropped(position, pending.command, begun=begun and is_step)]

    def _settle_map(self, pending: Pending) -> list[Event]:
        events: list[Event] = []
        left = 0
        for position, task in list(self.tasks.items()):
            if position.rpartition(".")[0] != pending.position:
                continue
            if self.chance.random() < 0.3:
                task.is_cancelled = True
                left += 1
                continue
            del self.tasks[position]
            if task.attempt:
                outcome = Dropped(begun=True)
                events.append(self._call_resolved(position, task, outcome))
        settled = asking.resolved(pending.position, pending.command, Dropped(begun=True, left=left))
        return [*events, settled]

    # What others do, whatever the run waits for.

    def _others(self, *, stands_still: bool = False) -> Iterator[Action]:
        for position, task in sorted(self.tasks.items()):
            # While a run stands still, only attempts under way come to their end.
            is_held_back = task.needs is not None and task.needs in self.tasks
            if not is_held_back and (not stands_still or task.attempt):
                yield lambda p=position: [self._attempt(p, self.tasks[p])]
        for position in sorted(self.timers):
            yield lambda p=position: self._fire(p)
        for position in sorted(self.children):
            yield lambda p=position: [self._end_child(p)]

    def _fire(self, position: str) -> list[Event]:
        self.timers.discard(position)
        return [asking.fired(position)]

    def _attempt(self, position: str, task: _Task) -> Event:
        task.attempt += 1
        command = task.command
        is_undo, is_call = position.startswith("~"), command.name.startswith("each")
        arguments = asking.decode(command.args)
        name, place = command.name.partition(":")[0], arguments[-1]
        fate = arguments[0] if name == "each" else name
        key = (self.generation, position)
        if not is_undo and command.undo_when == "attempted":
            self.ledger.do(key, place)
        fails = self.chance.random() < 0.1 if is_undo else fate == "fails" and position not in self.forgiven
        if fate == "retries" and not is_undo and task.attempt < 3 and not task.is_cancelled:
            return asking.attempt_failed(position, command.name, task.attempt)
        self.tasks.pop(position, None)
        fails = fails or (fate == "retries" and not is_undo and task.attempt < 3)
        if not fails and is_undo:
            self.ledger.undo(origin_of(position.removeprefix("~"), self.generation))
        elif not fails and command.undo_when is not None:
            self.ledger.do(key, place)
        outcome = asking.failure(place) if fails else Value(asking.encode(fate))
        if is_call and not is_undo:
            return self._call_resolved(position, task, outcome)
        return asking.resolved(position, command, outcome, attempt=task.attempt)

    @staticmethod
    def _call_resolved(position: str, task: _Task, outcome: Any) -> Resolved:
        command = task.command
        return Resolved(
            position=position,
            kind=Kind.MAP,
            name=command.name,
            args=command.args,
            outcome=outcome,
            attempt=max(task.attempt, 1),
        )

    def _end_child(self, position: str) -> Event:
        call = self.children.pop(position)
        name = call.command.name
        if isinstance(call.command, UndoRun):
            self.ledger.undo(origin_of(position.removeprefix("~"), self.generation))
            return asking.undone(position.removeprefix("~"), name)
        place = asking.decode(call.command.args)[-1]
        if name == "fails" or (call.is_cancelled and self.chance.random() < 0.5):
            return asking.failed(position, call.command, place)
        owes = name in {"owes", "restarts"}
        if owes:
            self.ledger.do((self.generation, position), place)
        return asking.done(position, call.command, name, owes=owes)


@attrs.define
class Run:
    """One run that was played to its end; `past` are the histories of earlier generations."""

    world: World
    history: list[Event] = attrs.field(factory=list)
    decisions: list[Decision] = attrs.field(factory=list)
    past: list[list[Event]] = attrs.field(factory=list)

    @property
    def finish(self) -> Finish:
        found = self.decisions[-1]
        assert isinstance(found, Finish)
        return found

    @property
    def was_asked_to_end(self) -> bool:
        return self.world.is_asked

    @property
    def refuses_compensation(self) -> bool:
        return any(isinstance(event, CancelRequested) and not event.compensate for event in self.history)


def play(
    program: Program,
    seed: int,
    *,
    notes: Notes | None = None,
    evicts: bool = False,
    asks: int = 1,
    then: tuple[int, Program] | None = None,
) -> Run:
    """Let the world answer a program until it ends.

    `evicts` makes a new interpreter for each decision; `then` deploys another program after so many events.
    """
    if notes is not None:
        notes.clear()
    run = Run(World(random.Random(seed), asks=asks))
    generation = 0
    interpreter = Interpreter(program)
    decision = interpreter.feed(())
    run.decisions.append(decision)
    while not isinstance(decision, Finish):
        assert len(run.history) < 1_000, "the run does not come to an end"
        events = run.world.answer(decision)
        begins_anew = run.world.generation > generation
        if begins_anew:
            generation = run.world.generation
            run.past.append(run.history[:])
            run.history.clear()
            if notes is not None:
                notes.clear()
        if notes is not None and isinstance(decision, Halt) and isinstance(decision.reason, Parked):
            notes.clear()  # the body is run again from its beginning
        run.history.extend(events)
        deploys = then is not None and len(run.history) >= then[0]
        if deploys and then is not None:
            program, then = then[1], None
        if evicts or begins_anew or deploys:
            interpreter.close()
            interpreter = Interpreter(program, generation=generation)
            decision = interpreter.feed(run.history)
        else:
            decision = interpreter.feed(events)
        run.decisions.append(decision)
    interpreter.close()
    return run


def owed_at(history: list[Event]) -> list[str]:
    """Read off a history alone: where undos are owed at its end, in the reverse order of what completed."""
    at: dict[str, None] = {}
    for event in history:
        match event:
            case Restarted(owed=owed):
                at.update(dict.fromkeys(debt.position for debt in owed))
            case UnwindStarted(plan=plan):
                for debt in plan:
                    at.pop(debt.position, None)
            case Scheduled(position=position, kind=Kind.STEP, args=args):
                if b'"attempted"' in args:
                    _owe(at, position)
            case Resolved(position=position, kind=Kind.STEP | Kind.MAP, args=args, outcome=outcome):
                is_dropped = isinstance(outcome, Dropped) and not outcome.begun
                if b'"attempted"' in args and is_dropped:
                    at.pop(position, None)
                elif b'"attempted"' in args or (b'"completed"' in args and isinstance(outcome, Value)):
                    _owe(at, position)
            case Resolved(position=position, owes=True) | Resolved(position=position, kind=Kind.COMPENSATE):
                if isinstance(event.outcome, Value):
                    _owe(at, position)
            case _:
                pass
    return list(reversed(at))


def _owe(at: dict[str, None], position: str) -> None:
    at.pop(position, None)
    at[position] = None


def plans(history: list[Event]) -> Iterator[tuple[UnwindStarted, list[str]]]:
    """Each plan of a history, and what is owed in its scope by then, read off the history alone."""
    for number, event in enumerate(history):
        if isinstance(event, UnwindStarted):
            owed = owed_at(history[:number])
            scope = event.scope
            yield event, [p for p in owed if scope is None or lies_in(p, scope)]
