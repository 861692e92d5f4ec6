"""Several at once, and writes that go wrong: nobody wins twice, nothing half-done stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import pytest

from qwit_durable.core import Status
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Acquire, Acquired, Claim, Claimed, Commit, Committed, FireTimers, Start
from qwit_durable.testing.contract.stage import LEASE, NAMESPACE, Stage, resolved, seconds, task

__all__ = ["Racing"]

_T = TypeVar("_T")


class Racing:
    """`another` opens the same data as another process would; a store that can't gives itself."""

    def test_concurrent_starts_of_one_key_are_one_run(self, stage: Stage, another: Callable[[], Store]) -> None:
        stores = [stage.store, another(), another(), another()]
        rows = [[stage.row(f"order-{turn}") for turn in range(8)] for _ in stores]

        found = _at_once([_starter(store, mine) for store, mine in zip(stores, rows, strict=True)])

        assert sum(answer.created for answers in found for answer in answers) == 8
        for turn in range(8):
            assert len({answers[turn].run.id for answers in found}) == 1
        assert stage.store.counts(NAMESPACE) == {Status.RUNNING: 8}

    def test_concurrent_acquisitions_give_one_holder(self, stage: Stage, another: Callable[[], Store]) -> None:
        run = stage.start().run
        stage.beat(1, 2, 3, 4)
        stores = [stage.store, another(), another(), another()]

        found = _at_once(
            [
                lambda store=store, worker=worker: store.apply([Acquire(run_id=run.id, worker=worker)])[0]  # type: ignore[misc]
                for worker, store in enumerate(stores, start=1)
            ]
        )

        assert sum(isinstance(answer, Acquired) for answer in found) == 1
        assert stage.live(run.id).epoch == 1

    def test_concurrent_claims_give_one_attempt(self, stage: Stage, another: Callable[[], Store]) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.beat(1, 2, 3)
        stores = [stage.store, another(), another()]

        found = _at_once(
            [
                lambda store=store, worker=worker: store.apply(  # type: ignore[misc]
                    [Claim(run_id=hold.id, position="0", worker=worker, lease=LEASE)]
                )[0]
                for worker, store in enumerate(stores, start=1)
            ]
        )

        assert sum(isinstance(answer, Claimed) for answer in found) == 1

    def test_a_timer_fires_once_however_many_fire_it(self, stage: Stage, another: Callable[[], Store]) -> None:
        from qwit_durable.stores.rows import TimerRow

        holds = [stage.begin() for _ in range(10)]
        for hold in holds:
            hold.release(timers=(TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now() + seconds(1)),))
        stage.wait(1)
        stores = [stage.store, another(), another()]
        one = FireTimers(run_id=holds[0].id, position="0")

        _at_once([lambda store=store: store.apply([one, FireTimers(), FireTimers(limit=3)]) for store in stores])  # type: ignore[misc]
        stage.do(FireTimers())

        assert [len(stage.events(hold.id)) for hold in holds] == [1] * 10
        assert [list(stage.tasks(hold.id)) for hold in holds] == [[TURN]] * 10

    def test_batches_that_cross_each_other_all_succeed(self, stage: Stage, another: Callable[[], Store]) -> None:
        from qwit_durable.core import SignalReceived
        from qwit_durable.stores.writes import Deliver

        runs = [stage.start().run.id for _ in range(6)]

        def deliver(store: Store, order: Sequence[Any]) -> None:
            for turn in range(10):
                event = SignalReceived(name="go", value=b"%d" % turn)
                store.apply([Deliver(run_id=run_id, event=event) for run_id in order])

        _at_once([lambda: deliver(stage.store, runs), lambda store=another(): deliver(store, runs[::-1])])  # type: ignore[misc]

        assert [stage.live(run_id).head for run_id in runs] == [20] * 6
        assert [len(stage.events(run_id)) for run_id in runs] == [20] * 6

    def test_many_threads_write_through_one_committer(self, stage: Stage) -> None:
        committer = Committer(stage.store)
        holds = [stage.begin() for _ in range(8)]

        def commit(index: int) -> list[Any]:
            hold = holds[index]
            return [
                committer.write(
                    Commit(run_id=hold.id, worker=1, epoch=hold.epoch, head=head, events=(resolved(str(head)),))
                )
                for head in range(25)
            ]

        found = _at_once([lambda index=index: commit(index) for index in range(8)])  # type: ignore[misc]

        assert all(isinstance(answer, Committed) for answers in found for answer in answers)
        assert [len(stage.events(hold.id)) for hold in holds] == [25] * 8
        assert committer.writes == 200

    def test_a_batch_that_goes_wrong_leaves_no_trace(self, stage: Stage) -> None:
        row = stage.row("order-1")
        poison = attrs.evolve(stage.row("order-2"), attributes={"tenant": object()})
        wrong = Commit(run_id=row.id, worker=1, epoch=1, head=0, events=("no event",))  # type: ignore[arg-type]

        with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the store's affair
            stage.store.apply([Start(run=row), Acquire(run_id=row.id, worker=1), _Unknown()])  # type: ignore[list-item]

        del poison, wrong
        assert stage.store.find(NAMESPACE, "order-1") is None
        assert stage.start("order-1").created

    def test_neighbours_of_a_write_that_cannot_be_stored_are_safe(self, stage: Stage) -> None:
        committer = Committer(stage.store)
        found: list[Any] = [None] * 5
        rows = [stage.row(f"order-{turn}") for turn in range(5)]

        def start(turn: int) -> None:
            write: Any = _Unknown() if turn == 2 else Start(run=rows[turn])
            try:
                found[turn] = committer.write(write)
            except Exception as error:  # noqa: BLE001 - told to the one whose write it is
                found[turn] = error

        _at_once([lambda turn=turn: start(turn) for turn in range(5)])  # type: ignore[misc]

        assert [getattr(answer, "created", "failed") for answer in found] == [True, True, "failed", True, True]


class _Unknown:
    """A write that nobody can carry out."""


def _starter(store: Store, rows: Sequence[Any]) -> Callable[[], list[Any]]:
    return lambda: [store.apply([Start(run=row)])[0] for row in rows]


def _at_once(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """Make the calls in threads that set off together; give what they give, or raise what one raised."""
    barrier = threading.Barrier(len(calls))
    found: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        barrier.wait(10)
        try:
            found[index] = calls[index]()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            found[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found
