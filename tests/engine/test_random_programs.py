"""Random programs on the whole engine, with processes that die, bells that fail, operators that act at any moment.

Each is compared with a sequential model (`trees.value_of`) and a ledger of what was done and undone outside.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import closing, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwit_durable.clock import ManualClock
from qwit_durable.core import Completed, Reopened, Resolved, Restarted, Status, UnwindStarted
from qwit_durable.engine.ports import Settings
from qwit_durable.engine.turning import handover
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.errors import DurableError, OperationRefused
from qwit_durable.registry import default_registry
from qwit_durable.stores import open_store
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import RunView
from qwit_durable.testing.environment import Environment
from tests.core import trees
from tests.engine import programs
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied
from tests.engine.programs import ledger, notes

_numbers = count()


@attrs.frozen
class Weather:
    """What befalls a run.

    Attributes:
        asks: What somebody asks of the run, after `ask_at` bells.
        stubborn: How often each undo fails at first.
        processes: How many of them are at the run at the same time.
        quick: Whether they take steps for quick.
    """

    body: str
    dispatch: Any
    restarts: int
    cached_runs: int
    processes: int
    quick: bool
    dies_at: int | None
    after: bool
    bell: tuple[str, int] | None
    asks: str | None
    ask_at: int
    stubborn: int
    seed: int

    @property
    def is_calm(self) -> bool:
        """Whether nothing but the program itself decides how it ends."""
        return self.dies_at is None and self.asks in {None, "pause"} and self.body != "parked_tree"


weathers = st.builds(
    Weather,
    body=st.sampled_from(["tree", "tree", "stubborn_tree", "parked_tree"]),
    dispatch=st.sampled_from([None, None, "inline", "queue"]),
    restarts=st.sampled_from([0, 0, 0, 2]),
    cached_runs=st.sampled_from([0, 1_000]),
    processes=st.sampled_from([1, 1, 3]),
    quick=st.booleans(),
    dies_at=st.one_of(st.none(), st.integers(3, 60)),
    after=st.booleans(),
    bell=st.one_of(st.none(), st.tuples(st.sampled_from(["loses", "doubles"]), st.integers(1, 20))),
    asks=st.sampled_from([None, None, "cancel", "abandon", "rollback", "pause"]),
    ask_at=st.integers(0, 25),
    stubborn=st.sampled_from([0, 0, 0, 1]),
    seed=st.integers(0, 1_000),
)


class Play:
    """One run on a store, from its start to its end."""

    def __init__(self, tree: trees.Block, weather: Weather, truth: Store, clock: ManualClock) -> None:
        ledger.clear()
        ledger.stubborn = weather.stubborn
        notes.clear()
        programs.programs[0] = tree
        self.tree = tree
        self.weather = weather
        self.truth = truth
        self.clock = clock
        self.chance = random.Random(weather.seed)
        self.was_handled = False
        self.was_rolled_back = False
        self.id = f"run {next(_numbers)}"
        self.definition = getattr(programs, weather.body).options(id=self.id)

    def process(self, store: Any = None) -> Environment:
        options = Settings(cached_runs=self.weather.cached_runs)
        quick = self.weather.quick
        made = Environment(store or self.truth, clock=self.clock, settings=options, steps_are_quick=quick)
        if self.weather.bell is not None:
            what, number = self.weather.bell
            made.bells = made.engine.services.bells = LossyBells(**{what: number})  # type: ignore[arg-type]
        return made

    def play(self) -> Any:
        """Run the program to its end, in processes of which the first may die."""
        mortal = MortalStore(self.truth, dies_at=self.weather.dies_at, after=self.weather.after)
        first = self.process(mortal)
        try:
            handle = first.start(self.definition, self.weather.dispatch, self.weather.restarts)
            first.engine.heart.beat()
            if self.weather.asks is not None:
                first.answer_bells(self.weather.ask_at)
                self.ask(handle)
            self.signal(first, 3)
            if self.weather.processes > 1:
                self.storm([first, *(self.process() for _ in range(self.weather.processes - 1))])
            first.settle()
        except ProcessDied:
            ledger.process_died()
        last = self.process()
        handle = last.start(self.definition, self.weather.dispatch, self.weather.restarts)
        for _ in range(60):
            last.settle()
            if handle.status().is_ended:
                break
            self.help_on(handle)
        self.environment = last
        return handle

    def ask(self, handle: Any) -> None:
        with suppress(DurableError):
            match self.weather.asks:
                case "cancel":
                    handle.cancel()
                case "abandon":
                    handle.cancel(compensate=False)
                case "rollback":
                    # An undo that has given up is tried again, as by a retry.
                    self.was_handled = handle.status() is Status.STUCK
                    handle.rollback()
                case _:
                    handle.pause()

    def storm(self, processes: list[Environment]) -> None:
        """Several processes take turns in any order, each with the bells that it has rung itself."""
        for _ in range(30):
            for each in processes:
                each.engine.heart.beat()
            each = self.chance.choice(processes)
            each.answer_bells(self.chance.randint(1, 4))
            each.engine.sweeper.sweep()
            self.clock.advance(timedelta(seconds=self.chance.choice([0, 0, 0.5, 1])))

    def help_on(self, handle: Any) -> None:
        """Do what a person would about a run that waits, or one below it."""
        for view in self.truth.children(handle.run().run_id):
            child = self.process().get(view.run.key)
            if child.status() is Status.STUCK:
                self.was_handled = True
                self.chance.choice([child.retry, child.skip])()
        match handle.status():
            case Status.PAUSED:
                handle.resume()
            case Status.STUCK:
                self.was_handled = True
                act = self.chance.choice([handle.retry, handle.retry, handle.skip, handle.rollback])
                self.was_rolled_back = self.was_rolled_back or act == handle.rollback
                with suppress(OperationRefused):  # there is nothing to skip where the body itself has failed
                    act()
            case _:
                self.signal(self.process(), 1)

    def signal(self, environment: Environment, times: int) -> None:
        handle = environment.get(self.id)
        for name in "ab":
            for _ in range(times):
                if not handle.status().is_ended:
                    handle.signal(name)

    # -- what holds --------------------------------------------------------------------------------------------

    def check(self, handle: Any) -> None:
        """The run has ended as the model says, and nothing that is owed was forgotten or undone twice."""
        status, run_id = handle.status(), handle.run().run_id
        assert status.is_ended, handle.explain()
        self.note_again(run_id)
        if self.weather.is_calm and not self.was_rolled_back:
            self.check_outcome(handle, status)
        for view in (self.truth.view(run_id), *self.truth.children(run_id)):
            assert view is not None
            self.check_run(view)
        assert len(ledger.undone) == len(set(ledger.undone)) or self.weather.dies_at is not None
        if self.was_handled:
            return  # a person may have taken undos as done
        if status is Status.COMPLETED:
            self.check_scopes()
        elif self.weather.asks != "abandon":
            assert not {label for label in ledger.standing if not label.startswith("plain")}

    def check_outcome(self, handle: Any, status: Status) -> None:
        if trees.fails(self.tree, notes):
            assert status in {Status.FAILED, Status.COMPENSATED}
        else:
            assert status is Status.COMPLETED
            value = json.loads(json.dumps(trees.value_of(self.tree, notes)))
            assert json.loads(handle.result(0)) == value
        if self.weather.processes == 1:
            assert max(ledger.attempts.values(), default=1) <= 4

    def check_scopes(self) -> None:
        """In a run that completed, what lies in a scope that failed or lost is undone, and nothing else is."""
        if notes.is_vague:
            return
        for label in set(ledger.done) - {ledger.unknown}:
            sort, generation, place = label.split()
            if generation != str(self.weather.restarts) or sort == "plain":
                continue
            if notes.is_to_be_undone(place.rstrip("ab0123456789") if sort == "kid" else place):
                assert label in ledger.undone, label
            elif sort != "kid":
                assert label not in ledger.undone, label

    def note_again(self, run_id: Any) -> None:
        """Note what came of scopes and races as it is recorded, not as a process that died saw it."""
        view = self.truth.view(run_id)
        assert view is not None
        assert view.outcome is not None
        notes.clear()
        reader = Programs(default_registry, None)
        interpreter = reader.interpreter(view.run, view.outcome.generation)
        interpreter.feed([recorded.event for recorded in self.truth.history(run_id)])
        interpreter.close()

    def check_run(self, view: RunView) -> None:
        """One run has ended with one outcome a command, its plans followed in order, and nothing left to do."""
        assert view.outcome is not None, view
        assert not self.truth.tasks(view.run.id)
        assert not self.truth.timers(view.run.id)
        events = [entry.event for entry in self.truth.history(view.run.id)]
        resolved = [event.position for event in events if isinstance(event, Resolved)]
        if not self.was_handled:
            assert max(Counter(resolved).values(), default=1) == 1
        assert not any(isinstance(event, Restarted) for event in events[1:])
        plans = [event.plan for event in events if isinstance(event, UnwindStarted)]
        if any(isinstance(event, Reopened) for event in events):
            plans.extend(event.owed for event in events if isinstance(event, Completed))
        undone = [position for position in resolved if position.startswith("~")]
        if not self.was_handled:
            assert sorted(undone) == sorted(f"~{debt.position}" for plan in plans for debt in plan)
        for plan in plans:
            owed = [f"~{debt.position}" for debt in plan]
            if not self.was_handled:
                assert [position for position in undone if position in owed] == owed


def run(tree: trees.Block, weather: Weather, truth: Store, clock: ManualClock) -> None:
    play = Play(tree, weather, truth, clock)
    handle = play.play()
    play.check(handle)


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Any:
    """Calls of maps are handed over and rung for two at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "CALLS_AT_ONCE", 2)
        patch.setattr(handover, "BELLS_AT_ONCE", 2)
        patch.setattr(handover, "BELLS_TOGETHER", 1)
        yield
    programs.programs.clear()


@settings(max_examples=60, deadline=None)
@given(tree=trees.trees, weather=weathers)
def test_whatever_befalls_a_program_what_it_owes_is_undone_once(tree, weather):
    """Deaths, evictions, operators and several processes change neither the outcome nor that each debt is paid once."""
    clock = ManualClock()

    run(tree, weather, MemoryStore(clock), clock)


on_disk = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@on_disk
@given(tree=trees.trees, weather=weathers)
def test_whatever_befalls_a_program_on_sqlite(tree, weather, tmp_path: Path):
    """The same on a file."""
    clock = ManualClock()
    truth = open_store(f"sqlite:///{tmp_path}/runs.db", clock=clock)
    truth.open()

    with closing(truth):
        run(tree, weather, truth, clock)


@on_disk
@given(tree=trees.trees, weather=weathers)
def test_whatever_befalls_a_program_on_postgres(tree, weather, postgres_url: str):
    """The same on a server."""
    clock = ManualClock()
    truth = open_store(postgres_url, clock=clock)
    truth.migrate()
    truth.open()

    with closing(truth):
        run(tree, weather, truth, clock)
