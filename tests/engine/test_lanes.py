"""Lanes with the whole engine: one run at a time and in order, whatever happens to a head or to the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from qwit_durable import GiveUp, Retry, Workflow, step, wait_signal, workflow
from qwit_durable.client.explaining import WaitKind
from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.engine.ports import Settings
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied

SECOND = timedelta(seconds=1)


@attrs.define
class World:
    """What happened, in order: `begin` and `end` of runs, as often as it did."""

    log: list[str] = attrs.field(factory=list)
    broken: set[str] = attrs.field(factory=set)


world = World()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    world.log.clear()
    world.broken.clear()


@step(retry=Retry(max_attempts=3, first=10 * SECOND))
def begin(name: str) -> None:
    world.log.append(f"begin {name}")
    if name in world.broken:
        message = "broken"
        raise OSError(message)


@begin.undo(retry=Retry(max_attempts=2))
def unbegin(name: str) -> None:
    world.log.append(f"undo {name}")
    if f"undo {name}" in world.broken:
        message = "broken"
        raise OSError(message)


@step
def end(name: str) -> None:
    if f"end {name}" in world.broken:
        message = "no end"
        raise GiveUp(message)
    world.log.append(f"end {name}")


@workflow
def child(name: str) -> Workflow[None]:
    yield from end(name)


@workflow
def visit(name: str, *, asks: bool = False) -> Workflow[str]:
    yield from begin(name)
    if asks:
        yield from wait_signal("go")
    yield from child(name)
    return name


@workflow
def pair(name: str) -> Workflow[None]:
    yield from begin(name)
    yield from end(name)


def start(environment: Environment, name: str, lane: str | None = "left", **options: object):
    """Start a visit; `asks` makes it wait for a signal."""
    asks = bool(options.pop("asks", False))
    return environment.start(visit.options(id=name, lane=lane, **options), name, asks=asks)


def in_order(*names: str) -> list[str]:
    """What the log says when these went one after the other."""
    return [f"{what} {name}" for name in names for what in ("begin", "end")]


def test_runs_of_a_lane_go_one_after_the_other() -> None:
    """Strictly in the order of their starts."""
    environment = Environment()
    handles = [start(environment, name) for name in "abcde"]

    environment.settle()

    assert world.log == in_order(*"abcde")
    assert [handle.result(0) for handle in handles] == [*"abcde"]
    assert environment.store.lane("default", "left") is None


def test_a_head_that_waits_holds_its_lane_and_no_other() -> None:
    """A signal may take days; who else would go on goes on."""
    environment = Environment()
    first = start(environment, "a", asks=True)
    for name in "bc":
        start(environment, name)
    start(environment, "x", "right")
    start(environment, "y", None)

    environment.settle()
    before = list(world.log)
    first.signal("go", None)
    environment.settle()

    assert before == ["begin a", "begin x", "end x", "begin y", "end y"]
    assert world.log[5:] == ["end a", *in_order(*"bc")]


def test_a_head_holds_its_lane_through_every_backoff() -> None:
    """Others of the lane wait; other lanes don't."""
    environment = Environment()
    world.broken.add("a")
    start(environment, "a")
    start(environment, "b")
    environment.settle(until=environment.clock.now() + 5 * SECOND)
    start(environment, "x", "right")
    environment.settle(until=environment.clock.now() + 10 * SECOND)
    middle = list(world.log)

    world.broken.clear()
    environment.settle()

    assert middle == ["begin a", *in_order("x"), "begin a"]
    assert world.log[4:] == ["begin a", "end a", *in_order("b")]


def test_a_head_that_fails_unwinds_before_the_next_one_begins() -> None:
    """The undo of the first is done before the second begins."""
    environment = Environment()
    world.broken.add("end a")
    failed = start(environment, "a")
    start(environment, "b")

    environment.settle()

    assert failed.status() is Status.COMPENSATED
    assert world.log == ["begin a", "undo a", *in_order("b")]


def test_a_stuck_head_holds_its_lane_until_a_person_has_helped() -> None:
    """An undo gave up; until it is retried nobody behind it begins."""
    environment = Environment()
    world.broken |= {"end a", "undo a"}
    stuck = start(environment, "a")
    waiting = start(environment, "b")
    environment.settle()
    assert stuck.status() is Status.STUCK
    assert waiting.status() is Status.SCHEDULED

    world.broken.clear()
    stuck.retry()
    environment.settle()

    assert (stuck.status(), waiting.status()) == (Status.COMPENSATED, Status.COMPLETED)
    assert world.log == ["begin a", "undo a", "undo a", "undo a", *in_order("b")]


def test_terminating_a_stuck_head_lets_its_lane_go_on() -> None:
    """The way out where the head is given up."""
    environment = Environment()
    world.broken |= {"end a", "undo a"}
    stuck = start(environment, "a")
    start(environment, "b")
    environment.settle()

    stuck.terminate("given up")
    environment.settle()

    assert world.log[-2:] == in_order("b")


def test_a_paused_head_holds_its_lane() -> None:
    """Paused before it began or afterwards."""
    environment = Environment()
    first = start(environment, "a", asks=True)
    second, third = start(environment, "b"), start(environment, "c")
    environment.settle()
    second.pause()
    first.pause()
    first.signal("go", None)
    environment.settle()
    while_first_is_paused = list(world.log)

    first.resume()
    environment.settle()
    while_second_is_paused = list(world.log)
    second.resume()
    environment.settle()

    assert while_first_is_paused == ["begin a"]
    assert while_second_is_paused == in_order("a")
    assert world.log == in_order(*"abc")
    assert third.status() is Status.COMPLETED


def test_a_cancelled_run_leaves_the_queue_without_having_begun() -> None:
    """Its body does nothing; the others keep their order."""
    environment = Environment()
    first = start(environment, "a", asks=True)
    second = start(environment, "b")
    start(environment, "c")
    environment.settle()

    second.cancel("not wanted any more")
    environment.settle()
    status = second.status()
    first.signal("go", None)
    environment.settle()

    assert status is Status.CANCELLED
    assert world.log == in_order(*"ac")


def test_a_waiting_run_whose_deadline_passes_never_begins() -> None:
    """A deadline counts from the start, waiting included."""
    environment = Environment()
    first = start(environment, "a", asks=True)
    late = start(environment, "b", deadline=30 * SECOND)
    start(environment, "c")

    environment.settle(until=environment.clock.now() + 60 * SECOND)
    status = late.status()
    first.signal("go", None)
    environment.settle()

    assert status is Status.FAILED
    assert world.log == in_order(*"ac")


def test_a_delayed_run_takes_its_place_when_it_is_due() -> None:
    """Those who start before that are before it, those after it behind it."""
    environment = Environment()
    first = start(environment, "a", asks=True)
    start(environment, "late", delay=20 * SECOND)
    start(environment, "b")

    environment.settle(until=environment.clock.now() + 30 * SECOND)
    start(environment, "c")
    first.signal("go", None)
    environment.settle()

    assert world.log == in_order("a", "b", "late", "c")


def test_namespaces_share_no_lane() -> None:
    """The same name in two of them is two lanes."""
    clock = ManualClock()
    store = open_store("memory://", clock=clock)
    one, other = (Environment(store, clock=clock, namespace=name) for name in ("one", "other"))
    start(one, "a", asks=True)

    handle = start(other, "b")
    other.settle()

    assert handle.status() is Status.COMPLETED


def test_a_long_lane_does_not_keep_a_process_from_its_other_work() -> None:
    """Its thread goes to the next bell when its time is up, and comes back for the lane."""
    environment = Environment(settings=Settings(time_slice=timedelta(0)))
    for name in "abcd":
        start(environment, name)
    start(environment, "x", None)

    environment.settle()

    assert world.log.index("end x") < world.log.index("begin c")
    assert [entry for entry in world.log if entry[-1] != "x"] == in_order(*"abcd")


def test_the_end_of_a_run_and_the_turn_of_the_next_one_are_one_write() -> None:
    """Of n runs of two steps each: nobody is rung for but the first, and what is written is their steps and ends."""
    clock = ManualClock()
    counted = MortalStore(open_store("memory://", clock=clock))
    environment = Environment(counted, clock=clock)
    for name in "abcd":
        environment.start(pair.options(lane="left"), name)
    calls = counted.calls

    answered = environment.answer_bells()

    assert world.log == in_order(*"abcd")
    assert answered == 1
    assert counted.calls - calls == 1 + 4 * 2


def test_a_lane_leaves_a_process_that_drains() -> None:
    """The next run is owed its turn, and nobody holds it."""

    @contextmanager
    def drained(info: AttemptInfo) -> Generator[None]:
        yield
        if info.step == end.name:
            environment.engine.drain()

    environment = Environment(around_step=[drained])
    first, second = (environment.start(pair.options(id=name, lane="left"), name) for name in "ab")
    environment.answer_bells()

    view = environment.store.find("default", "b")

    assert (first.status(), second.status()) == (Status.COMPLETED, Status.SCHEDULED)
    assert view is not None
    assert view.live is not None
    assert view.live.owner is None
    assert [task.position for task in environment.store.tasks(view.run.id)] == [""]


def test_an_explanation_names_the_head_and_says_how_to_go_on() -> None:
    """For the run that waits; the head says who waits for it."""
    environment = Environment()
    world.broken |= {"end a", "undo a"}
    head = start(environment, "a")
    start(environment, "b")
    waiting = start(environment, "c")
    late = start(environment, "d", delay=timedelta(hours=1))
    environment.settle(until=environment.clock.now() + 2 * SECOND)

    explanation = waiting.explain()

    (wait,) = explanation.waits
    assert (wait.kind, wait.what) == (WaitKind.LANE, "left")
    assert "waits in lane 'left' behind run a of workflow 'visit', 2 before it" in str(explanation)
    assert "and is stuck" in str(explanation)
    assert explanation.ways_out == (
        "see why the head does not end: qwit explain a",
        "mend it, then let it go on: qwit retry a",
        "give it up where it stands: qwit terminate a",
        "stop it and undo what it did: qwit cancel c",
    )
    assert "it holds lane 'left' since" in str(head.explain())
    assert "2 runs wait for its end" in str(head.explain())
    assert "and then takes its place in lane 'left'" in str(late.explain())
    assert str(head.history()).startswith("run a of workflow 'visit' in lane 'left': stuck")


# -- crashes -------------------------------------------------------------------------------------------------------

_WRITES = 40


def play(*, dies_at: int | None = None, after: bool = False, url: str = "memory://") -> tuple[Store, int]:
    """Four runs in one lane, of which one fails and one is cancelled while it waits; the process may die once."""
    clock = ManualClock()
    truth = open_store(url, clock=clock)
    truth.open()
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    world.broken.add("end b")
    for environment in (Environment(mortal, clock=clock), Environment(truth, clock=clock)):
        try:
            for name in "abcd":
                start(environment, name)
            if environment.get("c").status() is Status.SCHEDULED:
                environment.get("c").cancel()
            environment.settle()
        except ProcessDied:
            continue
    return truth, mortal.calls


def check(truth: Store) -> None:
    """They went one after the other, and nobody is left behind."""
    shortened = [entry for n, entry in enumerate(world.log) if world.log[n - 1 : n] != [entry]]
    cancelled = truth.find("default", "c")
    assert cancelled is not None
    expected = [*in_order("a"), "begin b", "undo b", *in_order("d")]
    if cancelled.status is not Status.CANCELLED:  # the process died before it could ask
        expected[4:4] = in_order("c")
    assert shortened == expected
    assert truth.lane("default", "left") is None
    assert set(truth.counts("default")) <= {
        Status.COMPLETED,
        Status.COMPENSATED,
        Status.CANCELLED,
        Status.FAILED,
    }


def test_an_undisturbed_lane_ends_as_expected() -> None:
    """The yardstick."""
    truth, calls = play()

    check(truth)
    assert max(Counter(world.log).values()) == 1
    assert calls < _WRITES, "raise _WRITES: some crash points are not tried"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES))
def test_death_around_any_write_keeps_a_lane_in_order(dies_at: int, after: bool) -> None:
    """Never two heads, never none, whichever write the process dies before or after."""
    truth, _ = play(dies_at=dies_at, after=after)

    check(truth)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES, 3))
def test_death_around_writes_to_sqlite_keeps_a_lane_in_order(
    dies_at: int, after: bool, tmp_path: Path
) -> None:
    """The same on a file."""
    truth, _ = play(dies_at=dies_at, after=after, url=f"sqlite:///{tmp_path}/crash.db")

    check(truth)
    truth.close()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(2, _WRITES, 6))
def test_death_around_writes_to_postgres_keeps_a_lane_in_order(
    dies_at: int, after: bool, postgres_url: str
) -> None:
    """The same on a server."""
    open_store(postgres_url).migrate()
    truth, _ = play(dies_at=dies_at, after=after, url=postgres_url)

    check(truth)
    truth.close()


@pytest.mark.parametrize("number", range(1, 20))
@pytest.mark.parametrize("what", ["loses", "doubles"])
def test_lost_and_repeated_bells_keep_a_lane_in_order(what: str, number: int) -> None:
    """A bell carries no truth."""
    environment = Environment()
    environment.bells = environment.engine.services.bells = LossyBells(**{what: number})
    for name in "abcd":
        start(environment, name)

    environment.settle()

    assert world.log == in_order(*"abcd")
