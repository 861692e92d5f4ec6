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
from qwit_durable.core import Kind, Reopened, Resolved, Retry, Status, UnwindStarted, Value
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import SignalTimeout
from qwit_durable.language.context import current
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, gather, new_uuid, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.core import simulated
from tests.core.simulated import All, Block, Boom, Do, Guarded, Hear, Nap, Note, Owe, Sub
from tests.engine.mortal import MortalStore, ProcessDied

QUICK = Retry(max_attempts=4, first=timedelta(seconds=1))


@attrs.define
class Ledger:
    """Effects by the key of their command: a well-made step does nothing twice under one key."""

    done: set[str] = attrs.field(factory=set)
    undone: list[str] = attrs.field(factory=list)
    keys_of_undos: Counter[str] = attrs.field(factory=Counter)
    attempts: Counter[str] = attrs.field(factory=Counter)


ledger = Ledger()


def do(fate: str) -> str:
    key = current().idempotency_key
    ledger.attempts[key] += 1
    if fate == "fails" or (fate == "retries" and ledger.attempts[key] < 3):
        raise ValueError(fate)
    ledger.done.add(key)
    return key


def undo(key: str | None) -> None:
    mine = current().idempotency_key
    ledger.keys_of_undos[mine] += 1
    if key is not None and ledger.keys_of_undos[mine] == 1:
        ledger.undone.append(key)


@step(retry=QUICK)
def plain(fate: str) -> str:
    return do(fate)


@step(retry=QUICK)
def owing(fate: str) -> str:
    return do(fate)


@owing.undo
def undo_owing(result: str) -> None:
    undo(result)


@step(retry=QUICK)
def half(fate: str) -> str:
    return do(fate)


@half.undo(when="attempted")
def undo_half(result: str | None) -> None:
    undo(result)


@step
def retract() -> None:
    undo(None)


@workflow
def kid(fate: str) -> Workflow[str]:
    if fate != "plain":
        yield from gather(owing("works"), half("works"))
    yield from sleep(timedelta(seconds=3))
    if fate == "fails":
        raise ValueError(fate)
    return fate


STEPS = {None: plain, "completed": owing, "attempted": half}


def call(node: Any, dispatch: Any) -> Any:
    """The call that a leaf stands for; None for what is a branch."""
    match node:
        case Do(fate=fate, undo=undo):
            return STEPS[undo].options(dispatch=dispatch)(fate)
        case Sub(fate=fate):
            return kid(fate)
        case Nap():
            return sleep(timedelta(seconds=2))
        case Owe():
            return compensate(retract())
        case Note():
            return new_uuid()
        case All(members=members, limit=limit):
            return gather(*(member(inner, dispatch) for inner in members), limit=limit)
        case _:
            return None


def member(node: Any, dispatch: Any) -> Any:
    """A call where the node is a leaf, else a generator."""
    found = call(node, dispatch)
    return branch(node, dispatch) if found is None else found


def branch(node: Any, dispatch: Any) -> Any:
    """What the tree says, in the language."""
    match node:
        case Boom():
            raise RuntimeError
        case Hear(name=name, times_out=times_out):
            with suppress(SignalTimeout):
                yield from wait_signal(name, timeout=timedelta(seconds=1) if times_out else None)
        case Block(nodes=nodes):
            for inner in nodes:
                yield from branch(inner, dispatch)
        case Guarded(block=block, handler=handler):
            try:
                yield from branch(block, dispatch)
            except Exception:  # noqa: BLE001 - a careless saga
                yield from branch(handler, dispatch)
        case _:
            yield from call(node, dispatch)


programs: dict[int, Block] = {}


@workflow
def tree(number: int, dispatch: str | None) -> Workflow[str]:
    yield from branch(programs[number], dispatch)
    return "done"


@attrs.frozen
class Weather:
    """What befalls a run."""

    dispatch: Any
    cached_runs: int
    dies_at: int | None
    after: bool
    cancel_at: int | None


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
    ledger.__init__()  # type: ignore[misc]
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
    run_id = handle.run().run_id
    history = [entry.event for entry in environment.store.history(run_id)]
    status = handle.status()
    assert status.is_ended, handle.explain()
    disturbed = weather.cancel_at is not None or weather.dies_at is not None
    if not disturbed:
        failed = {Status.FAILED, Status.COMPENSATED}
        assert status in (failed if simulated.fails(program) else {Status.COMPLETED})
        assert not ledger.attempts or max(ledger.attempts.values()) <= 4
    runs = [environment.store.view(run_id), *environment.store.children(run_id)]
    owed: set[str] = set()
    for view in runs:
        assert view is not None
        assert view.outcome is not None, view
        assert not environment.store.tasks(view.run.id)
        assert not environment.store.timers(view.run.id)
        events = [entry.event for entry in environment.store.history(view.run.id)]
        positions = [event.position for event in events if isinstance(event, Resolved)]
        assert max(Counter(positions).values(), default=1) == 1
        plans = [event.plan for event in events if isinstance(event, UnwindStarted)]
        unwound = plans or [event for event in events if isinstance(event, Reopened)]
        values = {
            event.outcome.data.decode().strip('"')
            for event in events
            if isinstance(event, Resolved) and event.kind is Kind.STEP and isinstance(event.outcome, Value)
        }
        if unwound:
            owed |= {
                event.outcome.data.decode().strip('"')
                for event in events
                if isinstance(event, Resolved)
                and event.name in {"owing", "half"}
                and event.kind is Kind.STEP
                and isinstance(event.outcome, Value)
            }
        assert values - {"null"} <= ledger.done
    assert set(ledger.undone) == owed
    assert len(ledger.undone) == len(owed)
    if status is Status.COMPLETED:
        assert not [event for event in history if isinstance(event, UnwindStarted)]
    elif weather.dies_at is None:
        assert max(ledger.keys_of_undos.values(), default=1) == 1


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
