"""Runs that threads carry for each other: flushed at once, each by its own rules, none held up by another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import uuid4

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.engine.carrying import Carriers, Pieces
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.ports import SPREAD
from qwit_durable.errors import StoreUnavailable
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Checkpoint, Write
from qwit_durable.testing.contract.stage import Hold, Stage, resolved
from qwit_durable.testing.environment import Environment, VirtualBells

_PATIENCE_SECONDS = 20.0


class Gated(MemoryStore):
    """A store that notes the size of each batch, and may be stopped before the next one or fail it."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock())
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.error: BaseException | None = None

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        if all(isinstance(write, Checkpoint) for write in writes):
            self.reached.set()
            assert self.gate.wait(_PATIENCE_SECONDS)
            self.batches.append(len(writes))
            error, self.error = self.error, None
            if error is not None:
                raise error
        return super().apply(writes)


@pytest.fixture
def store() -> Gated:
    return Gated()


@pytest.fixture
def stage(store: Gated) -> Stage:
    return Stage(store, ManualClock())


@pytest.fixture
def carriers(store: Gated) -> Iterator[Carriers]:
    carriers = Carriers(Committer(store), VirtualBells(), Pace())
    yield carriers
    carriers.stop(_PATIENCE_SECONDS)


class Run:
    """A run of so many steps, each recorded by a commit. `step` is made with the step's number.

    Attributes:
        is_over: Set at the end.
        rests: How often it was let go of; `again` is what brings it back then.
    """

    def __init__(
        self, stage: Stage, steps: int, step: Callable[[int], object] = lambda _: None, *, name: str = "add"
    ) -> None:
        self.hold = stage.begin()
        self.is_over = threading.Event()
        self.rests = 0
        self.again: Callable[[], object] = lambda: None
        self._head, self._steps, self._step, self._name = 0, steps, step, name

    def pieces(self) -> Pieces[None]:
        while self._head < self._steps:
            if (yield self._name) is False:
                self.rests += 1
                self.again()
                return
            self._step(self._head)
            answer = yield commit(self.hold, self._head)
            assert isinstance(answer, Committed)
            self._head += 1
        self.is_over.set()


def commit(hold: Hold, head: int) -> Checkpoint:
    return Checkpoint(run_id=hold.id, worker=1, epoch=hold.epoch, head=head, events=(resolved(str(head)),))


@contextmanager
def worker(carriers: Carriers, *, threads: int) -> Generator[Callable[[Run], Future[None]]]:
    """Threads that take one run after another, and those again that were let go of."""

    def bring(run: Run) -> Future[None]:
        run.again = lambda: bring(run)
        return pool.submit(lambda: carriers.carry(run.pieces()))

    with ThreadPoolExecutor(threads) as pool:
        yield bring


def carry_all(carriers: Carriers, runs: Sequence[Run], *, threads: int) -> None:
    with worker(carriers, threads=threads) as bring:
        for run in runs:
            bring(run)
        for run in runs:
            assert run.is_over.wait(_PATIENCE_SECONDS)


def test_a_run_is_carried_to_its_end(stage: Stage, carriers: Carriers):
    run = Run(stage, 20)

    carriers.carry(run.pieces())

    assert run.is_over.is_set()
    assert len(stage.events(run.hold.id)) == 20


def test_what_waits_during_a_flush_is_flushed_together(stage: Stage, store: Gated, carriers: Carriers):
    first, *others = (Run(stage, 1) for _ in range(5))
    store.gate.clear()

    with ThreadPoolExecutor(5) as pool:
        carrying: list[Future[None]] = [pool.submit(carriers.carry, first.pieces())]
        assert store.reached.wait(_PATIENCE_SECONDS)
        carrying += [pool.submit(carriers.carry, run.pieces()) for run in others]
        while len(carriers.roster.waiting) < 4:
            assert not carrying[0].done()
        store.gate.set()
        for future in carrying:
            future.result(_PATIENCE_SECONDS)

    assert store.batches == [1, 4]


def test_quick_runs_are_more_than_the_threads_that_carry_them(stage: Stage, store: Gated, carriers: Carriers):
    runs = [Run(stage, 60) for _ in range(60)]

    carry_all(carriers, runs, threads=4)

    assert max(store.batches) > 4
    assert all(len(stage.events(run.hold.id)) == 60 for run in runs)


def test_a_step_that_waits_for_another_run_does_not_hold_it_up(stage: Stage, carriers: Carriers):
    """Each waits, at every step, for the other one to have come as far."""
    meet = [threading.Barrier(2) for _ in range(30)]
    runs = [Run(stage, 30, lambda nth: meet[nth].wait(_PATIENCE_SECONDS)) for _ in range(2)]

    carry_all(carriers, runs, threads=2)

    assert [run.rests for run in runs] == [0, 0]


@pytest.mark.parametrize("threads", [2, 4, 8])
def test_what_was_quick_and_waits_for_another_run_now_does_not_wait_in_vain(
    stage: Stage, carriers: Carriers, threads: int
):
    """Few threads carry many runs, until all but one of the threads wait, in steps that were quick so far."""
    rounds = range(5)
    told = [[threading.Event() for _ in range(threads - 1)] for _ in rounds]

    def waits(nth_round: int, nth: int) -> Callable[[int], object]:
        return lambda step: step < 150 or told[nth_round][nth].wait(_PATIENCE_SECONDS)

    def tells(nth_round: int, nth: int) -> Callable[[int], object]:
        return lambda step: step < 150 or told[nth_round][nth].set()

    for nth_round in rounds:
        others = [Run(stage, 151) for _ in range(3 * threads)]
        waiting = [Run(stage, 151, waits(nth_round, nth)) for nth in range(threads - 1)]
        telling = [Run(stage, 151, tells(nth_round, nth)) for nth in range(threads - 1)]

        carry_all(carriers, [*waiting, *others, *telling], threads=threads)

        assert all(event.is_set() for events in told[: nth_round + 1] for event in events)


def test_slow_steps_are_made_as_many_at_once_as_there_are_threads(stage: Stage, carriers: Carriers):
    together = threading.Barrier(4)
    now, most = 0, 0
    lock = threading.Lock()

    def slow(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(now, most)
        together.wait(_PATIENCE_SECONDS)
        with lock:
            now -= 1

    quick = [Run(stage, 150) for _ in range(40)]
    runs = [Run(stage, 5, slow, name="slow") for _ in range(8)]

    carry_all(carriers, [*quick, *runs], threads=4)

    assert most == 4


def test_a_failure_is_that_of_its_own_run(stage: Stage, carriers: Carriers):
    held = stage.begin()

    def failing() -> Pieces[None]:
        yield commit(held, 0)
        raise LookupError("of this run alone")

    with pytest.raises(LookupError, match="of this run alone"):
        carriers.carry(failing())
    after = Run(stage, 3)
    carriers.carry(after.pieces())

    assert after.is_over.is_set()


def test_a_store_out_of_reach_is_told_to_the_run_at_its_write(stage: Stage, store: Gated, carriers: Carriers):
    hold = stage.begin()
    store.error = StoreUnavailable("gone for a moment")
    told: list[str] = []

    def trying() -> Pieces[None]:
        try:
            yield commit(hold, 0)
        except StoreUnavailable as error:
            told.append(str(error))

    carriers.carry(trying())

    assert told == ["gone for a moment"]


class Interrupt(BaseException):
    """As a shutdown raises it in a thread."""


def test_a_thread_that_is_interrupted_while_it_flushes_fails_one_run(
    stage: Stage, store: Gated, carriers: Carriers
):
    store.gate.clear()
    told: list[str] = []

    def riding() -> Pieces[None]:
        hold = stage.begin()
        try:
            yield commit(hold, 0)
            yield commit(hold, 1)
        except BaseException as error:
            told.append(type(error).__name__)
            raise

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(carriers.carry, Run(stage, 1).pieces())
        assert store.reached.wait(_PATIENCE_SECONDS)
        futures = [pool.submit(carriers.carry, riding()) for _ in range(3)]
        while len(carriers.roster.waiting) < 3:
            assert not first.done()
        store.error = None
        apply, store.apply = store.apply, _failing_at(store.apply, 2)  # type: ignore[method-assign] # interrupts
        store.gate.set()
        errors = [future.exception(_PATIENCE_SECONDS) for future in (first, *futures)]
        store.apply = apply  # type: ignore[method-assign] # as it was

    assert sorted(told) == ["Interrupt", "StoreUnavailable", "StoreUnavailable"]
    assert [type(error) for error in errors].count(Interrupt) == 1
    after = Run(stage, 3)
    carriers.carry(after.pieces())
    assert after.is_over.is_set()


def _failing_at(
    apply: Callable[[Sequence[Write]], Sequence[Answer]], size: int
) -> Callable[[Sequence[Write]], Sequence[Answer]]:
    def failing(writes: Sequence[Write]) -> Sequence[Answer]:
        if len(writes) >= size:
            raise Interrupt
        return apply(writes)

    return failing


def test_a_thread_that_leaves_before_its_run_is_over_leaves_it_to_others(stage: Stage, carriers: Carriers):
    go_on = threading.Event()
    runs = [Run(stage, 1000) for _ in range(12)]
    last = Run(stage, 1000, lambda nth: nth < 999 or go_on.wait(_PATIENCE_SECONDS))

    with worker(carriers, threads=4) as bring:
        for run in runs:
            bring(run)
        brought = bring(last)
        brought.result(_PATIENCE_SECONDS)
        was_over = last.is_over.is_set()
        go_on.set()
        assert last.is_over.wait(_PATIENCE_SECONDS)

    assert not was_over


def test_many_runs_of_many_threads_lose_nothing(stage: Stage, carriers: Carriers):
    runs = [Run(stage, 25, name=f"step {nth % 3}") for nth in range(80)]

    carry_all(carriers, runs, threads=8)

    assert all(len(stage.events(run.hold.id)) == 25 for run in runs)


class AllQuick(Pace):
    """Thinks so of every step."""

    def seems_quick(self, name: str) -> bool:
        _ = name
        return True


def test_a_thread_that_was_added_and_sits_in_a_step_is_left_behind_and_named(
    stage: Stage, store: Gated, caplog: pytest.LogCaptureFixture
):
    """The thread that brought two runs sits in the step of one, the thread that was added in that of the other."""
    carriers = Carriers(Committer(store), VirtualBells(), AllQuick())
    both, go_on = threading.Barrier(3), threading.Event()

    def sit(_: int) -> None:
        both.wait(_PATIENCE_SECONDS)
        go_on.wait(_PATIENCE_SECONDS)

    runs = [Run(stage, 1, sit, name="sitting") for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        carrying = pool.submit(lambda: carriers.carry(*(run.pieces() for run in runs)))
        both.wait(_PATIENCE_SECONDS)

        carriers.stop(0)
        told = caplog.text
        go_on.set()
        carrying.result(_PATIENCE_SECONDS)
    carriers.stop(_PATIENCE_SECONDS)

    assert "left behind: 1, in steps 'sitting'; what they hold is given back" in told
    assert all(run.is_over.is_set() for run in runs)


class CountingBells(VirtualBells):
    """Counts, under a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.lock = threading.Lock()

    def ring(self, rings, *, spread=SPREAD, alike=frozenset()):
        with self.lock:
            self.count += len(rings)


def test_threads_that_ring_at_once_ring_for_all_and_none_breaks_off(store: Gated):
    bells = CountingBells()
    carriers = Carriers(Committer(store), bells, Pace())
    ring = Ring(run_id=uuid4(), position="0", queue="default", name="step")
    of_each, at_once, threads = 300, 65, 4
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            done = [
                pool.submit(lambda: [carriers.ring([ring] * at_once) for _ in range(of_each)])
                for _ in range(threads)
            ]
            for each in done:
                each.result()
    finally:
        sys.setswitchinterval(interval)

    assert bells.count == threads * of_each * at_once


@step
def pause() -> None: ...


@workflow
def pausing() -> Workflow[None]:
    yield from pause()


def test_a_run_that_lets_others_go_first_is_free_when_it_is_rung_for():
    environment = Environment()
    run_id = environment.start(pausing)._run_id
    turns = environment.engine.turns
    held: list[int] = []
    turns.carriers.ring = lambda rings: held.extend(len(turns.holding) for _ in rings)
    pieces = turns.turns_of(run_id)

    asked = next(pieces)
    with suppress(StopIteration):
        while True:
            # There is no thread for its step.
            asked = pieces.send(False if isinstance(asked, str) else environment.write(asked))

    assert held == [0]
