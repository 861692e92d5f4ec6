"""A step that always kills its process takes neighbours along: once, and no more."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import AttemptFailed, Retry, Status
from qwit_durable.engine import suspects
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.suspects import Suspect, Suspects
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.writes import Acquire, Reap, Write
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

_LATER = timedelta(seconds=11)


class Script:
    """What steps do: `poison` is the end of their process, all others let others go on `meanwhile`."""

    def __init__(self) -> None:
        self.poison: set[str] = set()
        self.kills = 0
        self.process: MortalStore | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    def call(self, name: str) -> None:
        if name in self.poison:
            assert self.process is not None
            self.kills += 1
            self.process.is_dead = True
            raise ProcessDied
        self.meanwhile()


script = Script()


@pytest.fixture(autouse=True)
def fresh_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread waits for another one: there is one. And no moment passes by itself."""
    global script
    script = Script()
    monkeypatch.setattr(suspects, "_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(suspects, "_MOMENT_SECONDS", 3600)


@step
def bite(name: str, number: int) -> int:
    script.call(f"{name} {number}")
    return number


@workflow
def meal(name: str, queued: bool) -> Workflow[str]:
    chosen = bite.options(dispatch="queue") if queued else bite
    for number in range(4):
        yield from chosen(name, number)
    return name


@step(retry=Retry(max_attempts=3))
def sip(name: str) -> str:
    script.call(name)
    return name


@workflow
def drinks(names: list[str]) -> Workflow[int]:
    return len((yield from gather(*(sip(name) for name in names), limit=len(names))))


def _lost(environment: Environment, run_id: UUID) -> Counter[str]:
    events = [one.event for one in environment.store.history(run_id)]
    return Counter(event.position for event in events if isinstance(event, AttemptFailed))


class Crowd:
    """A process that carries many runs at once, in any order that the dice say; it dies with whichever kills it."""

    def __init__(self, truth: MemoryStore, clock: ManualClock, dice: random.Random) -> None:
        script.process = self._mortal = MortalStore(truth)
        self.environment = Environment(self._mortal, clock=clock)
        self._dice = dice
        self._riders: list[tuple[Pieces[Any], Any]] = []

    def live(self) -> None:
        """Carry on until there is nothing to do, or until death."""
        engine, bells = self.environment.engine, self.environment.bells
        engine.heart.beat()
        engine.sweeper.first()
        engine.sweeper.sweep()
        while not self._mortal.is_dead and (self._riders or bells.waiting):
            if bells.waiting and self._dice.random() < 0.5:
                self._riders.append((self._pieces(bells.waiting.popleft()), None))
            elif self._riders:
                self._carry(*self._riders.pop(self._dice.randrange(len(self._riders))))
        for pieces, _ in self._riders:
            with suppress(ProcessDied):
                pieces.close()  # nothing comes of it any more

    def _pieces(self, ring: Ring) -> Pieces[None]:
        engine = self.environment.engine
        if ring.position == TURN:
            return engine.turns.turns_of(ring.run_id)
        return engine.queued._whole(ring.run_id, ring.position, ring.name)

    def _carry(self, pieces: Pieces[Any], answer: Any) -> None:
        try:
            asked = pieces.send(answer)
        except StopIteration:
            return
        self._riders.append((pieces, self._answer(asked)))

    def _answer(self, asked: Write | str) -> Any:
        if not isinstance(asked, str):
            return self.environment.write(asked) if not self._mortal.is_dead else None
        # Now and then there is no thread for a step; for one that waits there is none at all.
        return False if asked != "bite" or self._dice.random() < 0.1 else None


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("poisons", [1, 2])
@pytest.mark.parametrize("seed", range(15))
def test_a_run_that_did_nothing_wrong_loses_one_start_to_each_poison(
    seed: int, poisons: int, queued: bool
) -> None:
    clock = ManualClock()
    truth, dice = MemoryStore(clock), random.Random(seed)
    script.poison = {f"{name} {dice.randrange(4)}" for name in range(poisons)}
    outside = Environment(truth, clock=clock)
    handles = {str(name): outside.start(meal.options(id=str(name)), str(name), queued) for name in range(12)}

    for _ in range(40):
        Crowd(truth, clock, dice).live()
        clock.advance(_LATER)

    bad = [handles[one.split()[0]] for one in script.poison]
    good = [handle for handle in handles.values() if handle not in bad]
    assert [handle.status() for handle in bad] == [Status.FAILED] * poisons
    assert [handle.status() for handle in good] == [Status.COMPLETED] * len(good)
    assert script.kills == 5 or poisons == 2  # one may be lost with another
    assert max(max(_lost(outside, handle._run_id).values(), default=0) for handle in good) <= poisons


@pytest.mark.parametrize("at_once", [2, 4, 8])
def test_a_queued_attempt_that_did_nothing_wrong_is_lost_once(at_once: int) -> None:
    clock = ManualClock()
    truth = MemoryStore(clock)
    names = [f"sip {number}" for number in range(12)]
    script.poison = {"sip 7"}
    handle = Environment(truth, clock=clock).start(drinks, names)

    for _ in range(20):
        script.process = MortalStore(truth)
        environment = Environment(script.process, clock=clock)
        script.meanwhile = _others_of(environment, at_once)
        environment.engine.heart.beat()
        environment.engine.sweeper.first()
        environment.engine.sweeper.sweep()
        with suppress(ProcessDied):
            environment.answer_bells()
        clock.advance(_LATER)

    lost = _lost(environment, handle._run_id)
    assert script.kills == 3
    assert handle.status() is Status.FAILED
    assert lost.pop("0.7") == 3
    assert set(lost.values()) <= {1}


@step(dispatch="queue")
def by_bell(name: str) -> str:
    return name


@workflow
def supper() -> Workflow[int]:
    yield from by_bell("soup")
    return (yield from bite("bread", 0))


@pytest.mark.parametrize("lost", [False, True])
def test_nobody_else_that_was_lost_begins_beside_a_turn_that_came_with_an_outcome(lost: bool) -> None:
    environment = Environment()
    run_id = environment.start(supper)._run_id
    environment.answer(environment.bells.waiting.popleft())
    if lost:  # by a process that died with it, while its step was yet to be made
        environment.store.apply([Acquire(run_id=run_id, worker=99), Reap(orphans=(run_id,))])
    beside: list[bool] = []

    def another() -> None:
        suspect = environment.engine._suspects.enter()
        beside.append(suspect is not None)
        if suspect is not None:
            suspect.is_past()

    script.meanwhile = another
    environment.answer_bells()

    assert beside == [not lost]
    another()
    assert beside[-1]
    assert environment.store.view(run_id).status is Status.COMPLETED


def _others_of(environment: Environment, at_once: int) -> Callable[[], None]:
    """So many attempts are under way at once: each step has others begin before it returns."""
    depth = 1

    def others() -> None:
        nonlocal depth
        while depth < at_once and environment.bells.waiting:
            depth += 1
            environment.answer(environment.bells.waiting.popleft())
            depth -= 1

    return others


# -- one after another -----------------------------------------------------------------------------------------


@pytest.fixture
def watched() -> list[Suspect]:
    return []


@pytest.fixture
def rung() -> list[Ring]:
    return []


@pytest.fixture
def line(watched: list[Suspect], rung: list[Ring]) -> Suspects:
    return Suspects(rung.extend, watched.append)


def _ring(number: int) -> Ring:
    return Ring(run_id=UUID(int=number), position=TURN, queue="default", name="meal")


def test_the_next_one_is_rung_for_when_the_one_before_is_past(line, rung):
    first = line.enter()
    refused = [line.enter(), line.enter()]
    for number in (1, 2, 1):
        line.put_off(_ring(number))

    assert first is not None
    first.is_past()
    first.is_past()

    assert refused == [None, None]
    assert rung == [_ring(1)]
    assert line.enter() is not None


def test_one_that_takes_long_holds_up_the_others_for_a_moment_only(line, rung, watched):
    first = line.enter()
    line.put_off(_ring(1))

    goes_on = first.interrupt()

    assert watched == [first]
    assert not goes_on
    assert rung == [_ring(1)]


def test_the_moment_is_longer_for_what_was_lost_more_often(line):
    suspect = line.enter()

    ends = []
    for lost in (1, 2, 3, 4, 30):
        suspect.begins(lost)
        ends.append(suspect.due)

    assert ends == sorted(ends)
    assert ends[-1] - ends[-2] < 1  # it does not grow for ever


def test_what_comes_when_nobody_goes_on_any_more_is_rung_for_at_once(line, rung):
    line.put_off(_ring(1))

    assert rung == [_ring(1)]


def test_one_that_is_put_off_is_free_before_anybody_comes_for_it(line, rung):
    first = line.enter()
    seen = []
    pieces = line.one_by_one(_ring(1), None, None, lambda: seen.append(list(rung)))

    next(pieces)
    with pytest.raises(StopIteration):
        pieces.send(False)
    first.is_past()

    assert seen == [[]]
    assert rung == [_ring(1)]


def test_threads_that_carry_runs_go_on_with_the_next_one_if_they_will(line, rung):
    joined = []
    line.join = lambda pieces: joined.append(pieces) or pieces != "second"
    for number, again in ((1, lambda: "first"), (2, lambda: "second"), (3, None)):
        suspect = line.enter()
        line.put_off(_ring(number), again)
        suspect.is_past()

    assert joined == ["first", "second"]
    assert rung == [_ring(2), _ring(3)]


def test_a_process_that_stops_rings_for_what_waits(line, rung):
    line.enter()
    line.put_off(_ring(1))
    line.put_off(_ring(2))

    line.give_up()

    assert rung == [_ring(1), _ring(2)]
