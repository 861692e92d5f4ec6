"""What a run costs, counted and never timed: resumes of the body, events fed, values decoded, writes, wake-ups."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Decision, Event, Interpreter, Kind, Resolved, Status, Value, closings, decide
from qwit_durable.core.scope import lies_in
from qwit_durable.engine.ports import Settings
from qwit_durable.language.groups import gather as make_gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.core.asking import CANCEL, Play, decode, done, gather, mapped, race, scheduled
from tests.core.asking import step as ask

N = 1_000


@attrs.define
class Counted:
    """How often what happened."""

    resumes: int = 0
    decodes: int = 0


counted = Counted()


@pytest.fixture(autouse=True)
def fresh_count() -> None:
    """Nothing has happened yet."""
    counted.resumes = counted.decodes = 0


class Resuming:
    """Passes a body on and counts how often it is resumed: once for each `yield from` that gets its answer."""

    def __init__(self, commands: Iterable[Any]) -> None:
        self._commands = commands

    def body(self):
        for command in self._commands:
            counted.resumes += 1
            yield command
        counted.resumes += 1


def counting(data: bytes) -> Any:
    counted.decodes += 1
    return decode(data)


@step
def count_on(n: int) -> int:
    return n + 1


@step(dispatch="queue")
def apart(n: int) -> int:
    return n


@workflow
def many(n: int) -> Workflow[int]:
    total = 0
    for _ in range(n):
        counted.resumes += 1
        total = yield from count_on(total)
    counted.resumes += 1
    return total


@workflow
def patient(n: int) -> Workflow[int]:
    heard = 0
    for _ in range(n):
        counted.resumes += 1
        heard += yield from wait_signal("go", int)
    return heard


@workflow
def wide(n: int) -> Workflow[int]:
    return sum((yield from make_gather(*(apart(i) for i in range(n)))))


class CountingStore:
    """Passes everything on, and counts writes by kind."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.writes: Counter[str] = Counter()
        self.events_read = 0

    def apply(self, writes: Sequence[Any]) -> Sequence[Any]:
        self.writes.update(type(write).__name__ for write in writes)
        answers = self._store.apply(writes)
        self.events_read += sum(len(getattr(answer, "events", ())) for answer in answers)
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def process(*, cached_runs: int = 1_000) -> tuple[Environment, CountingStore]:
    clock = ManualClock()
    store = CountingStore(MemoryStore(clock))
    return Environment(store, clock=clock, settings=Settings(cached_runs=cached_runs)), store  # type: ignore[arg-type]


@pytest.fixture
def feeds(monkeypatch) -> list[int]:
    """How many events each feeding of an interpreter had."""
    found: list[int] = []
    feed = Interpreter.feed

    def counting_feed(self: Interpreter, events: Iterable[Event]) -> Decision:
        fed = tuple(events)
        found.append(len(fed))
        return feed(self, fed)

    monkeypatch.setattr(Interpreter, "feed", counting_feed)
    return found


# -- the core ------------------------------------------------------------------------------------------------------


def test_body_is_resumed_once_for_each_event():
    """Fed one by one, a thousand outcomes resume the body a thousand times, and decode a value each."""
    command = ask("a", decode=counting)
    play = Play(Resuming([command] * N).body)

    for position in range(N):
        play.feed(done(f"{position}", command, position))

    assert play.finish.value == b"null"
    assert counted.resumes == N + 1
    assert counted.decodes == N


def test_replay_resumes_the_body_as_often():
    """Fed in one piece the same history costs the same, and decides once."""
    command = ask("a", decode=counting)
    program = Play(Resuming([command] * N).body).program
    counted.resumes = 0

    decide(program, [done(f"{position}", command) for position in range(N)])

    assert counted.resumes == N + 1
    assert counted.decodes == N


def test_member_of_a_gather_costs_no_resume_of_the_body():
    """The body is resumed when its gather is complete, not for each member."""
    command = ask("a", decode=counting)
    play = Play(Resuming([gather(*[command] * N)]).body)

    play.feed(*(scheduled(f"0.{n}", command, queued=True) for n in range(N)))
    play.feed(*(done(f"0.{n}", command) for n in range(N)))

    assert play.finish.value == b"null"
    assert counted.resumes == 2
    assert counted.decodes == N


def test_plan_of_a_scope_costs_nothing_for_what_was_owed_before(monkeypatch):
    """What the loser of a race owes is looked for among the debts since the race began, not among all of the run."""
    looked_at: list[str] = []
    monkeypatch.setattr(
        closings, "lies_in", lambda place, scope: looked_at.append(place) or lies_in(place, scope)
    )
    owing, a, b = ask("owing", undo="completed"), ask("a"), ask("b", undo="completed")
    play = Play(Resuming([*[owing] * N, race(a, b)]).body)

    play.feed(*(done(f"{n}", owing) for n in range(N)))
    play.feed(scheduled(f"{N}.1", b, queued=True), done(f"{N}.0", a), done(f"{N}.1", b))

    assert play.plan == [f"{N}.1"]
    assert len(looked_at) < 5


def test_values_nobody_waits_for_are_not_decoded():
    """What completes while it is being settled is owed as bytes: no type of the user's is asked."""
    command = ask("a", decode=counting)
    play = Play(Resuming([command]).body)

    play.feed(scheduled("0", command, queued=True), CANCEL, done("0", command, 1))

    assert play.finish.status is Status.CANCELLED
    assert counted.decodes == 0


@contextmanager
def kept_by(thing: Any) -> Iterator[list[int]]:
    """How many bytes were allocated in this block and are still held at its end."""
    found: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        yield found
        gc.collect()
        found.append(tracemalloc.get_traced_memory()[0])
        assert thing is not None  # it is alive until here
    finally:
        tracemalloc.stop()


def test_step_without_an_undo_leaves_nothing_behind():
    """A live interpreter of a thousand steps is no larger than one of a single step."""
    command = ask("a")
    play = Interpreter(Play(Resuming([command] * N).body).program)
    play.feed([done("0", command)])

    with kept_by(play) as kept:
        for position in range(1, N - 1):
            play.feed([done(f"{position}", command)])

    assert kept[0] < 10 * N


def test_step_with_an_undo_leaves_its_debt_behind():
    """What is owed is kept: a few hundred bytes a step, with its arguments and its value."""
    command = ask("a", undo="completed")
    play = Interpreter(Play(Resuming([command] * N).body).program)
    play.feed([done("0", command)])

    with kept_by(play) as kept:
        for position in range(1, N - 1):
            play.feed([done(f"{position}", command, position)])

    assert kept[0] < 500 * N


def test_call_of_a_map_costs_its_parent_less_than_a_kilobyte():
    """Of the calls of a map, the parent keeps arguments and values, and what is owed."""
    with kept_by(counted) as kept:
        command = mapped("a", *range(N), undo="completed")
        interpreter = Interpreter(Play(Resuming([command]).body).program)
        interpreter.feed([attrs.evolve(scheduled("0", command, queued=True), upto=N)])
        interpreter.feed(
            Resolved(position=f"0.{n}", kind=Kind.MAP, name="a", args=b"[%d]" % n, outcome=Value(b"%d" % n))
            for n in range(N - 1)
        )

    assert kept[0] < 1_000 * N


# -- the engine ----------------------------------------------------------------------------------------------------


def test_long_inline_run_is_linear(feeds):
    """A run of n inline steps resumes its body n + 1 times, feeds each event once, and writes n + 2 times."""
    environment, store = process()

    handle = environment.start(many, N)
    environment.answer_bells()

    assert handle.result(0) == N
    assert counted.resumes == N + 1
    assert sum(feeds) == N
    assert len(feeds) <= N + 2
    assert store.writes == {"Start": 1, "Acquire": 1, "Checkpoint": N - 1, "Commit": 1}


def test_cached_interpreter_is_fed_only_new_events(feeds):
    """A run that is woken again and again reads and replays nothing while its interpreter is warm."""
    turns = 50
    environment, store = process()
    handle = environment.start(patient, turns)
    environment.answer_bells()

    for _ in range(turns):
        handle.signal("go", 1)
        environment.answer_bells()

    assert handle.result(0) == turns
    history = len(store.history(handle.run().run_id))
    assert counted.resumes == turns
    assert sum(feeds) == history
    assert store.events_read == turns


def test_evicted_interpreter_replays_the_whole_history():
    """Without a cache every turn reads and replays all there is: dearer, and the same outcome."""
    turns = 10
    environment, store = process(cached_runs=0)
    handle = environment.start(patient, turns)
    environment.answer_bells()

    for _ in range(turns):
        handle.signal("go", 1)
        environment.answer_bells()

    assert handle.result(0) == turns
    assert counted.resumes > turns * (turns - 1) / 2
    assert store.events_read > turns * (turns - 1) / 2


def test_fan_out_costs_its_parent_one_wake_up(feeds):
    """Handing over n members decides a few times, not n times, and the last outcome alone wakes the parent."""
    width = 200
    environment, store = process()
    handle = environment.start(wide, width)

    environment.answer(environment.bells.waiting.popleft())
    decided = len(feeds)
    environment.answer_bells()

    assert handle.result(0) == sum(range(width))
    assert decided <= 4
    assert len(feeds) <= 8
    assert store.writes == {
        "Start": 1,
        "Acquire": 1,  # the parent's second turn is taken in the write of the last outcome
        "Commit": 2,
        "Claim": width,
        "ResolveTask": width,
    }
