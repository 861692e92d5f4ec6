"""Runs that are carried on together: flushed at once, each by its own rules, none held up by another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.engine import combining
from qwit_durable.engine.combining import Combiner, Pieces
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.writes import Commit, Release, Write
from qwit_durable.testing.contract.stage import Hold, Stage, resolved

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
        if all(isinstance(write, Commit) for write in writes):
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
def combiner(store: Gated) -> Combiner:
    return Combiner(Committer(store))


def commit(hold: Hold, head: int) -> Commit:
    return Commit(run_id=hold.id, worker=1, epoch=hold.epoch, head=head, events=(resolved(str(head)),))


def counting(hold: Hold, count: int, between: Callable[[int], object] = lambda _: None) -> Pieces[int]:
    """A run of so many commits, which does something before each."""
    head = 0
    for nth in range(count):
        between(nth)
        answer = yield commit(hold, head)
        assert isinstance(answer, Committed)
        head = answer.head
    return head


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(_PATIENCE_SECONDS) for future in [pool.submit(call) for call in calls]]


def test_a_run_is_carried_to_its_end_and_its_value_answered(stage: Stage, combiner: Combiner):
    hold = stage.begin()

    assert combiner.carry(counting(hold, 20)) == 20
    assert len(stage.events(hold.id)) == 20


def test_what_waits_during_a_flush_is_flushed_together_and_goes_on_together(
    stage: Stage, store: Gated, combiner: Combiner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(combining, "_QUICK_SECONDS", _PATIENCE_SECONDS)
    first, others = stage.begin(), [stage.begin() for _ in range(4)]
    arrived = threading.Semaphore(0)
    store.gate.clear()
    store.reached.clear()

    def arriving(hold: Hold) -> Callable[[], int]:
        return lambda: combiner.carry(counting(hold, 5, lambda nth: arrived.release() if nth == 0 else None))

    with ThreadPoolExecutor(5) as pool:
        leading = pool.submit(combiner.carry, counting(first, 5))
        assert store.reached.wait(_PATIENCE_SECONDS)
        following = [pool.submit(arriving(hold)) for hold in others]
        for _ in others:
            assert arrived.acquire(timeout=_PATIENCE_SECONDS)
        while len(combiner._waiting) < 4:
            assert not leading.done()
        store.gate.set()
        found = [future.result(_PATIENCE_SECONDS) for future in (leading, *following)]

    assert found == [5] * 5
    assert store.batches[0] == 1
    assert max(store.batches) == 5
    assert sum(store.batches) == 25


def test_a_step_that_waits_for_another_run_does_not_hold_that_run_up(
    stage: Stage, combiner: Combiner, monkeypatch: pytest.MonkeyPatch
):
    """Each waits, at every step, for the other one to have come as far."""
    monkeypatch.setattr(combining, "_QUICK_SECONDS", _PATIENCE_SECONDS)
    one, other = stage.begin(), stage.begin()
    meet = [threading.Barrier(2) for _ in range(4)]

    found = in_threads(
        *(
            lambda hold=hold: combiner.carry(counting(hold, 4, lambda nth: meet[nth].wait(_PATIENCE_SECONDS)))
            for hold in (one, other)
        )
    )

    assert found == [4, 4]


def test_slow_steps_are_made_by_the_threads_that_brought_their_runs(
    stage: Stage, combiner: Combiner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(combining, "_QUICK_SECONDS", 0.0)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def run(nth: int) -> int:
        hold = stage.begin()
        pieces = counting(hold, 30, lambda _: seen[nth].append(threading.get_ident()))
        combiner.carry(pieces)
        return threading.get_ident()

    owners = in_threads(*(lambda nth=nth: run(nth) for nth in seen))

    for nth, owner in enumerate(owners):
        assert set(seen[nth][2:]) == {owner}


def test_each_run_is_told_of_its_own_failure(stage: Stage, combiner: Combiner):
    held, lost = stage.begin(), stage.begin()

    def losing() -> Pieces[str]:
        answer = yield Commit(run_id=lost.id, worker=9, epoch=1, head=0, events=(resolved("0"),))
        return type(answer).__name__

    def failing() -> Pieces[str]:
        yield commit(held, 0)
        raise LookupError("of this run alone")

    with pytest.raises(LookupError, match="of this run alone"):
        combiner.carry(failing())
    assert combiner.carry(losing()) == "Fenced"
    assert combiner.carry(counting(stage.begin(), 3)) == 3


def test_a_store_out_of_reach_is_told_to_the_run_at_its_write(stage: Stage, store: Gated, combiner: Combiner):
    hold = stage.begin()
    store.error = StoreUnavailable("gone for a moment")

    def trying() -> Pieces[str]:
        try:
            yield commit(hold, 0)
        except StoreUnavailable as error:
            return str(error)
        return "written"

    assert combiner.carry(trying()) == "gone for a moment"
    assert combiner.carry(counting(hold, 2)) == 2


class Interrupt(BaseException):
    """As a shutdown raises it in a thread."""


def test_a_thread_that_is_interrupted_while_it_flushes_leaves_the_others_their_runs(
    stage: Stage, store: Gated, combiner: Combiner
):
    hold, other = stage.begin(), stage.begin()
    store.error = Interrupt()

    with pytest.raises(BaseException) as caught:
        combiner.carry(counting(hold, 3))

    assert isinstance(caught.value, Interrupt | StoreUnavailable)
    assert combiner.carry(counting(other, 3)) == 3


def test_a_thread_that_is_interrupted_at_the_last_write_of_its_run_leaves_at_once(
    stage: Stage, store: Gated, combiner: Combiner
):
    hold, other = stage.begin(), stage.begin()
    store.error = Interrupt()

    def letting_go() -> Pieces[None]:
        yield Commit(run_id=hold.id, worker=1, epoch=hold.epoch, head=0, release=Release())

    with pytest.raises(Interrupt):
        combiner.carry(letting_go())

    assert combiner.carry(counting(other, 3)) == 3


def test_a_thread_that_leaves_takes_its_run_along(stage: Stage, store: Gated, combiner: Combiner):
    """Interrupted while it sleeps: nobody goes on with the run, and the others go on with theirs."""
    leading, leaving = stage.begin(), stage.begin()
    store.gate.clear()
    store.reached.clear()
    sleeping = threading.Event()

    def interrupted() -> None:
        rider_wait = combiner._wait

        def wait(rider: Any) -> None:
            if threading.current_thread() is me:
                sleeping.set()
                raise Interrupt
            rider_wait(rider)

        me = threading.current_thread()
        combiner._wait = wait  # type: ignore[method-assign] # the interrupt strikes here
        with pytest.raises(Interrupt):
            combiner.carry(counting(leaving, 3))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(combiner.carry, counting(leading, 3))
        assert store.reached.wait(_PATIENCE_SECONDS)
        second = pool.submit(interrupted)
        assert sleeping.wait(_PATIENCE_SECONDS)
        store.gate.set()
        assert first.result(_PATIENCE_SECONDS) == 3
        second.result(_PATIENCE_SECONDS)

    assert stage.events(leaving.id) == []


def test_many_runs_of_many_threads_lose_nothing(stage: Stage, combiner: Combiner):
    holds = [[stage.begin() for _ in range(5)] for _ in range(8)]

    found = in_threads(
        *(lambda own=own: [combiner.carry(counting(hold, 25)) for hold in own] for own in holds)
    )

    assert found == [[25] * 5] * 8
    assert all(len(stage.events(hold.id)) == 25 for own in holds for hold in own)
