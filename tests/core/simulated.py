"""Random programs, and a simulated world that answers their decisions with events in any order it likes.

A program is a tree; `body_of` runs it as a workflow's body, `value_of` says what it must come to, whatever the order in
which the world answers. The world keeps no more than the tables of a store: tasks, timers, sub-workflows. It appends
what a holder of the run would (what the decision asks for) and what others would at any moment (an attempt that ends, a
timer that fires, a signal, a cancel), also when nobody waits for it any more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
from hypothesis import strategies as st

from qwit_durable.core import (
    Advance,
    AttemptFailed,
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
    Interpreter,
    OperatorActed,
    Pending,
    Program,
    Record,
    Resolved,
    Sleep,
    Undo,
    UndoGaveUp,
    UndoRun,
    Unwind,
    UnwindStarted,
    Verb,
    WaitSignal,
)
from qwit_durable.errors import SignalTimeout
from tests.core import asking

# -- programs ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Do:
    """A step that works, fails, or works at its third attempt."""

    fate: str
    undo: str | None


@attrs.frozen
class Sub:
    """A sub-workflow that fails, or leaves something to undo, or nothing."""

    fate: str


@attrs.frozen
class Nap:
    """A timer."""


@attrs.frozen
class Hear:
    """A wait for a signal; it may time out, which changes nothing."""

    name: str
    times_out: bool


@attrs.frozen
class Owe:
    """An undo handed to `compensate`."""


@attrs.frozen
class Note:
    """A recorded value."""


@attrs.frozen
class Boom:
    """The body's own error."""


@attrs.frozen
class Block:
    """One after the other."""

    nodes: tuple[Any, ...]


@attrs.frozen
class All:
    """A gather."""

    members: tuple[Any, ...]
    limit: int | None


@attrs.frozen
class Guarded:
    """`try` and `except`."""

    block: Block
    handler: Block


_LEAVES = st.one_of(
    st.builds(
        Do,
        fate=st.sampled_from(["works", "works", "works", "retries", "fails"]),
        undo=st.sampled_from([None, "completed", "attempted"]),
    ),
    st.builds(Sub, fate=st.sampled_from(["plain", "owes", "fails"])),
    st.just(Nap()),
    st.builds(Hear, name=st.sampled_from("ab"), times_out=st.booleans()),
    st.just(Owe()),
    st.just(Note()),
    st.just(Boom()),
)


def _blocks(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Block]:
    return st.builds(Block, nodes=st.lists(nodes, max_size=3).map(tuple))


_NODES = st.recursive(
    _LEAVES,
    lambda nodes: st.one_of(
        st.builds(
            All, members=st.lists(nodes, max_size=4).map(tuple), limit=st.sampled_from([None, None, 1, 2])
        ),
        st.builds(Guarded, block=_blocks(nodes), handler=_blocks(nodes)),
        _blocks(nodes),
    ),
    max_leaves=12,
)

#: Trees of steps, gathers with branches, try and except, signals, sleeps, sub-workflows, compensations and failures.
trees = st.lists(_NODES, min_size=1, max_size=4).map(lambda nodes: Block(tuple(nodes)))
seeds = st.integers(min_value=0, max_value=2**32)


class _Failing(Exception):
    """What `value_of` raises where the body would."""


def value_of(node: Any) -> Any:
    """What a body comes to, in whatever order it is answered."""
    match node:
        case Do(fate="fails") | Sub(fate="fails") | Boom():
            raise _Failing
        case Do(fate=fate) | Sub(fate=fate):
            return fate
        case Nap() | Owe():
            return None
        case Note():
            return 1
        case Hear():
            return "heard"
        case Block(nodes=nodes):
            return [value_of(inner) for inner in nodes]
        case All(members=members):
            return [value_of(member) for member in members]
        case Guarded(block=block, handler=handler):
            try:
                return value_of(block)
            except _Failing:
                return ["caught", value_of(handler)]


def fails(tree: Block) -> bool:
    try:
        value_of(tree)
    except _Failing:
        return True
    return False


def _command(node: Any) -> Any:
    match node:
        case Do(fate=fate, undo=undo):
            return asking.step(fate, undo, undo=undo)
        case Sub(fate=fate):
            return asking.child(fate)
        case Nap():
            return asking.SLEEP
        case Owe():
            return asking.compensate("owe")
        case Note():
            return asking.record()
        case All(members=members, limit=limit):
            return asking.gather(*(_command(m) or body_of(m) for m in members), limit=limit)
        case _:
            return None


def body_of(node: Any) -> Generator[Any, Any, Any]:
    """A body that does what the tree says."""
    match node:
        case Boom():
            message = "boom"
            raise RuntimeError(message)
        case Hear(name=name, times_out=times_out):
            with suppress(SignalTimeout):
                yield attrs.evolve(asking.signal(name), timeout=timedelta(1) if times_out else None)
            return "heard"
        case Block(nodes=nodes):
            values = []
            for inner in nodes:
                values.append((yield from body_of(inner)))
            return values
        case Guarded(block=block, handler=handler):
            try:
                return (yield from body_of(block))
            except Exception:  # noqa: BLE001 - a careless saga
                return ["caught", (yield from body_of(handler))]
        case All():
            return list((yield _command(node)))
        case _:
            return (yield _command(node))


def program(tree: Block, *, is_child: bool = False) -> Program:
    return Program(name="tree", body=lambda _: body_of(tree), encode=asking.encode, is_child=is_child)


# -- the world -----------------------------------------------------------------------------------------------------

Action = Callable[[], list[Event]]


@attrs.define
class _Task:
    command: Any
    attempt: int = 0
    is_cancelled: bool = False


@attrs.define
class World:
    """What stands around one run, and how it answers."""

    chance: random.Random
    may_cancel: bool = True
    tasks: dict[str, _Task] = attrs.field(factory=dict)
    timers: set[str] = attrs.field(factory=set)
    children: dict[str, _Task] = attrs.field(factory=dict)
    attempts: dict[str, int] = attrs.field(factory=dict)

    def answer(self, decision: Decision) -> list[Event]:
        """What is recorded next; nothing once the run has ended."""
        match decision:
            case Finish():
                return []
            case Unwind(cause=cause, plan=plan):
                return [UnwindStarted(cause=cause, plan=plan)]
            case Halt(reason=UndoGaveUp()):
                return [OperatorActed(verb=self.chance.choice([Verb.RETRY, Verb.SKIP]))]
            case Halt():
                message = f"the run is stuck: {decision}"
                raise AssertionError(message)
            case Advance():
                return self._advance(decision)

    def _advance(self, decision: Advance) -> list[Event]:
        if self.may_cancel and self.chance.random() < 0.02:
            self.may_cancel = False
            compensate = self.chance.random() < 0.8
            return [self.chance.choice([CancelRequested(compensate=compensate), DeadlinePassed()])]
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
            if not self._is_settling(pending.position):
                yield lambda p=pending: self._settle(p)

    def _begin(self, pending: Pending) -> list[Event]:
        position, command = pending.position, pending.command
        match command:
            case CallStep() | Undo() if not pending.scheduled and self.chance.random() < 0.5:
                self.tasks[position] = _Task(command, attempt=pending.attempts)
                return [asking.scheduled(position, command, queued=True)]
            case CallStep(undo_when="attempted") if not pending.scheduled:
                return [asking.scheduled(position, command)]
            case CallStep() | Undo():
                return [self._attempt(position, _Task(command, attempt=pending.attempts))]
            case CallWorkflow() | UndoRun():
                self.children[position] = _Task(command)
            case Sleep() | WaitSignal():
                if isinstance(command, Sleep) or command.timeout is not None:
                    self.timers.add(position)
            case Compensate() | Record():
                return [asking.done(position, command, 1)]
        return [asking.scheduled(position, command)]

    def _is_settling(self, position: str) -> bool:
        known = self.tasks.get(position) or self.children.get(position)
        return known is not None and known.is_cancelled

    def _settle(self, pending: Pending) -> list[Event]:
        position = pending.position
        self.timers.discard(position)
        begun = pending.attempts > 0 or (pending.scheduled and not pending.queued)
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
        return [
            asking.dropped(position, pending.command, begun=begun and isinstance(pending.command, CallStep))
        ]

    # What others do, whatever the run waits for.

    def _others(self) -> Iterator[Action]:
        for position in sorted(self.tasks):
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
        name = task.command.name
        fails = name == "fails" or (isinstance(task.command, Undo) and self.chance.random() < 0.1)
        if name == "retries" and task.attempt < 3 and not task.is_cancelled:
            return asking.attempt_failed(position, name, task.attempt)
        self.tasks.pop(position, None)
        if fails or (name == "retries" and task.attempt < 3):
            return asking.failed(position, task.command, attempt=task.attempt)
        return asking.done(position, task.command, name)

    def _end_child(self, position: str) -> Event:
        call = self.children.pop(position)
        name = call.command.name
        if isinstance(call.command, UndoRun):
            return asking.undone(position.removeprefix("~"), name)
        if name == "fails" or (call.is_cancelled and self.chance.random() < 0.5):
            return asking.failed(position, call.command)
        return asking.done(position, call.command, name, owes=name == "owes")


@attrs.define
class Run:
    """One run that was played to its end."""

    history: list[Event] = attrs.field(factory=list)
    decisions: list[Decision] = attrs.field(factory=list)

    @property
    def finish(self) -> Finish:
        found = self.decisions[-1]
        assert isinstance(found, Finish)
        return found

    @property
    def was_stopped(self) -> bool:
        return any(isinstance(event, CancelRequested | DeadlinePassed) for event in self.history)

    @property
    def plan(self) -> list[str]:
        started = [event for event in self.history if isinstance(event, UnwindStarted)]
        assert len(started) <= 1
        return [debt.position for event in started for debt in event.plan]


def play(program: Program, seed: int, *, evicts: bool = False, may_cancel: bool = True) -> Run:
    """Let the world answer a program until it ends; `evicts` makes a new interpreter for each decision."""
    world, run = World(random.Random(seed), may_cancel=may_cancel), Run()
    interpreter = Interpreter(program)
    decision = interpreter.feed(())
    run.decisions.append(decision)
    while not isinstance(decision, Finish):
        assert len(run.history) < 1_000, "the run does not come to an end"
        events = world.answer(decision)
        run.history.extend(events)
        if evicts:
            interpreter.close()
            interpreter = Interpreter(program)
            decision = interpreter.feed(run.history)
        else:
            decision = interpreter.feed(events)
        run.decisions.append(decision)
    interpreter.close()
    return run


def owed_at_the_end(history: list[Event]) -> list[str]:
    """Read off a history alone: where undos are owed, in the reverse order of what completed."""
    at: dict[str, int] = {}
    for number, event in enumerate(history):
        match event:
            case UnwindStarted():
                break
            case asking.Scheduled(position=position, kind=asking.Kind.STEP, args=b'["attempted"]'):
                at[position] = number
            case Resolved(position=position, kind=asking.Kind.STEP, args=args, outcome=outcome):
                is_dropped = isinstance(outcome, Dropped) and not outcome.begun
                if args == b'["attempted"]' and is_dropped:
                    at.pop(position, None)
                elif args == b'["attempted"]' or (
                    args == b'["completed"]' and isinstance(outcome, asking.Value)
                ):
                    at[position] = number
            case (
                Resolved(position=position, owes=True)
                | Resolved(position=position, kind=asking.Kind.COMPENSATE)
            ):
                if isinstance(event.outcome, asking.Value):
                    at[position] = number
            case _:
                pass
    return sorted(at, key=lambda position: at[position], reverse=True)


__all__ = [
    "AttemptFailed",
    "Run",
    "World",
    "fails",
    "owed_at_the_end",
    "play",
    "program",
    "seeds",
    "trees",
    "value_of",
]
