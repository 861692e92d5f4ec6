"""Random programs on the whole engine, with processes that die and cancels that come at any moment."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwit_durable.clock import ManualClock
from qwit_durable.core import Completed, Reopened, Resolved, Retry, Status, UnwindStarted
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import SignalTimeout
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, new_uuid, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import RunView
from qwit_durable.testing.environment import Environment
from tests.core import simulated
from tests.core.simulated import All, Block, Boom, Do, Guarded, Hear, Nap, Note, Owe, Sub
from tests.engine.mortal import MortalStore, ProcessDied

QUICK = Retry(max_attempts=4, first=timedelta(seconds=1))


class Ledger:
    """What was done to the outside and undone again, by a label of each step, kept beside the histories."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.done: set[str] = set()
        self.undone: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.undos: Counter[str] = Counter()

    def standing(self, kind: str) -> set[str]:
        """Effects of one kind of step that nobody undid."""
        return {label for label in self.done - set(self.undone) if label.startswith(kind)}


ledger = Ledger()


def do(label: str, fate: str) -> str:
    key = current().idempotency_key
    ledger.attempts[key] += 1
    if fate == "fails" or (fate == "retries" and ledger.attempts[key] < 3):
        raise ValueError(fate)
    ledger.done.add(label)
    return label


def undo(label: str) -> None:
    key = current().idempotency_key
    ledger.undos[key] += 1
    if ledger.undos[key] == 1:
        ledger.undone.append(label)


@step(retry=QUICK)
def plain(label: str, fate: str) -> str:
    return do(label, fate)


@step(retry=QUICK)
def owing(label: str, fate: str) -> str:
    return do(label, fate)


@owing.undo
def undo_owing(label: str, result: str) -> None:
    assert result == label
    undo(label)


@step(retry=QUICK)
def half(label: str, fate: str) -> str:
    return do(label, fate)


@half.undo(when="attempted")
def undo_half(label: str, result: str | None) -> None:
    assert result in {label, None}
    undo(label)


@step
def retract(label: str) -> None:
    undo(label)


@workflow
def kid(label: str, fate: str) -> Workflow[str]:
    if fate != "plain":
        yield from gather(owing(f"owing {label}a", "works"), half(f"half {label}b", "works"))
    yield from sleep(timedelta(seconds=3))
    if fate == "fails":
        raise ValueError(fate)
    return fate


STEPS = {None: ("plain", plain), "completed": ("owing", owing), "attempted": ("half", half)}


@attrs.frozen
class Place:
    """A place in a program, which labels what is done there."""

    path: str
    dispatch: Any

    def below(self, index: int) -> Place:
        return Place(f"{self.path}.{index}", self.dispatch)


def call(node: Any, at: Place) -> Any:
    """The call that a leaf stands for; None for what is a branch."""
    match node:
        case Do(fate=fate, undo=undo):
            kind, made = STEPS[undo]
            return made.options(dispatch=at.dispatch)(f"{kind} {at.path}", fate)
        case Sub(fate=fate):
            return kid(f"kid {at.path}", fate)
        case Nap():
            return sleep(timedelta(seconds=2))
        case Owe():
            return compensate(retract(f"retract {at.path}"))
        case Note():
            return new_uuid()
        case All(members=members, limit=limit):
            return gather(*(member(m, at.below(n)) for n, m in enumerate(members)), limit=limit)
        case _:
            return None


def member(node: Any, at: Place) -> Any:
    """A call where the node is a leaf, else a generator."""
    found = call(node, at)
    return branch(node, at) if found is None else found


def branch(node: Any, at: Place) -> Any:
    """What the tree says, in the language."""
    match node:
        case Boom():
            raise RuntimeError
        case Hear(name=name, times_out=times_out):
            with suppress(SignalTimeout):
                yield from wait_signal(name, timeout=timedelta(seconds=1) if times_out else None)
        case Block(nodes=nodes):
            for index, inner in enumerate(nodes):
                yield from branch(inner, at.below(index))
        case Guarded(block=block, handler=handler):
            try:
                yield from branch(block, at.below(0))
            except Exception:  # noqa: BLE001 - a careless saga
                yield from branch(handler, at.below(1))
        case _:
            yield from call(node, at)


programs: dict[int, Block] = {}


@workflow
def tree(number: int, dispatch: str | None) -> Workflow[str]:
    yield from branch(programs[number], Place("", dispatch))
    return "done"


@attrs.frozen
class Weather:
    """What befalls a run."""

    dispatch: Any
    cached_runs: int
    dies_at: int | None
    after: bool
    cancel_at: int | None

    @property
    def is_calm(self) -> bool:
        return self.dies_at is None and self.cancel_at is None


weathers = st.builds(
    Weather,
    dispatch=st.sampled_from([None, None, "inline", "queue"]),
    cached_runs=st.sampled_from([0, 1_000]),
    dies_at=st.one_of(st.none(), st.integers(3, 40)),
    after=st.booleans(),
    cancel_at=st.one_of(st.none(), st.integers(0, 25)),
)


def play(program: Block, weather: Weather) -> tuple[Environment, Any]:
    """Run the program to its end, in one process or, once that has died, in a second one."""
    ledger.clear()
    programs[0] = program
    clock = ManualClock()
    truth = MemoryStore(clock)
    mortal = MortalStore(truth, dies_at=weather.dies_at, after=weather.after)
    options = Settings(cached_runs=weather.cached_runs)
    first = Environment(mortal, clock=clock, settings=options)  # type: ignore[arg-type]
    second = Environment(truth, clock=clock, settings=options)
    definition = tree.options(id="it")
    try:
        handle = first.start(definition, 0, weather.dispatch)
        first.engine.heart.beat()
        if weather.cancel_at is not None:
            first.answer_bells(weather.cancel_at)
            with suppress(Exception):
                handle.cancel()
        signal(first, 20)
        first.settle()
    except ProcessDied:
        pass
    handle = second.start(definition, 0, weather.dispatch)
    for _ in range(40):
        second.settle()
        if handle.status().is_ended:
            break
        signal(second, 1)
    return second, handle


def signal(environment: Environment, times: int) -> None:
    handle = environment.get("it")
    for name in "ab":
        for _ in range(times):
            if not handle.status().is_ended:
                handle.signal(name)


def check(environment: Environment, handle: Any, program: Block, weather: Weather) -> None:
    """The run has ended, its histories are in order, and nothing that is owed was forgotten or undone twice."""
    status, run_id = handle.status(), handle.run().run_id
    assert status.is_ended, handle.explain()
    if weather.is_calm:
        failed = {Status.FAILED, Status.COMPENSATED}
        assert status in (failed if simulated.fails(program) else {Status.COMPLETED})
        assert max(ledger.attempts.values(), default=1) <= 4
        assert max(ledger.undos.values(), default=1) == 1
    for view in (environment.store.view(run_id), *environment.store.children(run_id)):
        assert view is not None
        check_run(environment, view)
    assert len(ledger.undone) == len(set(ledger.undone))
    if status is Status.COMPLETED:
        assert not [label for label in ledger.undone if "kid" not in label]
    else:
        assert ledger.standing("half") == set()
        assert ledger.standing("owing") == set() or weather.dies_at is not None


def check_run(environment: Environment, view: RunView) -> None:
    """One run of the tree has ended with one outcome a command, its plan followed in order, and nothing left to do."""
    assert view.outcome is not None, view
    assert not environment.store.tasks(view.run.id)
    assert not environment.store.timers(view.run.id)
    events = [entry.event for entry in environment.store.history(view.run.id)]
    resolved = [event.position for event in events if isinstance(event, Resolved)]
    assert max(Counter(resolved).values(), default=1) == 1
    plans = [event.plan for event in events if isinstance(event, UnwindStarted)]
    if any(isinstance(event, Reopened) for event in events):
        plans.extend(event.owed for event in events if isinstance(event, Completed))
    assert len(plans) <= 1
    owed = [f"~{debt.position}" for plan in plans for debt in plan]
    assert [position for position in resolved if position.startswith("~")] == owed


@settings(max_examples=60, deadline=None)
@given(program=simulated.trees, weather=weathers)
def test_whatever_befalls_a_program_what_it_owes_is_undone_once(program, weather):
    """Deaths, evictions and cancels change neither the outcome of a run nor that each debt is paid exactly once."""
    environment, handle = play(program, weather)

    check(environment, handle, program, weather)


@pytest.fixture(autouse=True)
def no_program() -> None:
    """No program is left behind."""
    programs.clear()
