# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Several at once, and writes that go wrong: nobody wins twice, nothing half-done stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import pytest

from qwit_durable.core import Kind, SignalReceived, Status, Verb
from qwit_durable.stores.answers import Acquired, Claimed, Committed, Started
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.protocol import PartlyApplied, Store
from qwit_durable.stores.rows import TURN, OutcomeRow, TimerRow
from qwit_durable.stores.writes import Acquire, Claim, Commit, Deliver, FireTimers, Report, Start, Write
from qwit_durable.testing.contract.stage import LEASE, NAMESPACE, Hold, Stage, resolved, seconds, task

__all__ = ["Racing", "at_once"]

_T = TypeVar("_T")
Another = Callable[[], Store]


class Racing:
    """`another` opens the same data as another process would; a store that can't gives itself."""

    def test_concurrent_starts_of_one_key_are_one_run(self, stage: Stage, another: Another) -> None:
        def start(store: Store) -> Callable[[], list[Any]]:
            rows = [stage.row(f"order-{turn}") for turn in range(8)]
            return lambda: [store.apply([Start(run=row)])[0] for row in rows]

        found = at_once([start(store) for store in (stage.store, another(), another(), another())])

        assert sum(answer.created for answers in found for answer in answers) == 8
        for turn in range(8):
            assert len({answers[turn].run.id for answers in found}) == 1
        assert stage.store.counts(NAMESPACE) == {Status.RUNNING: 8}

    def test_concurrent_replacements_of_one_key_are_one_run(self, stage: Stage, another: Another) -> None:
        for turn in range(8):
            stage.begin(key=f"order-{turn}").end()

        def replace(store: Store) -> Callable[[], list[Any]]:
            writes = [Start(run=stage.row(f"order-{turn}"), on_conflict="replace") for turn in range(8)]
            return lambda: [store.apply([write])[0] for write in writes]

        found = at_once([replace(store) for store in (stage.store, another(), another(), another())])

        assert sum(answer.created for answers in found for answer in answers) == 8
        assert stage.store.counts(NAMESPACE) == {Status.RUNNING: 8, Status.COMPLETED: 8}

    def test_concurrent_acquisitions_give_one_holder(self, stage: Stage, another: Another) -> None:
        run = stage.start().run
        stage.beat(1, 2, 3, 4)

        def acquire(store: Store, worker: int) -> Callable[[], Any]:
            return lambda: store.apply([Acquire(run_id=run.id, worker=worker)])[0]

        stores = [stage.store, another(), another(), another()]
        found = at_once([acquire(store, worker) for worker, store in enumerate(stores, start=1)])

        assert sum(isinstance(answer, Acquired) for answer in found) == 1
        assert stage.live(run.id).epoch == 1

    def test_concurrent_claims_give_one_attempt(self, stage: Stage, another: Another) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.beat(1, 2, 3)

        def claim(store: Store, worker: int) -> Callable[[], Any]:
            write = Claim(run_id=hold.id, position="0", worker=worker, lease=LEASE)
            return lambda: store.apply([write])[0]

        stores = [stage.store, another(), another()]
        found = at_once([claim(store, worker) for worker, store in enumerate(stores, start=1)])

        assert sum(isinstance(answer, Claimed) for answer in found) == 1

    def test_a_timer_fires_once_however_many_fire_it(self, stage: Stage, another: Another) -> None:
        holds = [stage.begin() for _ in range(10)]
        for hold in holds:
            timer = TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now() + seconds(1))
            hold.release(timers=(timer,))
        stage.wait(1)
        one = FireTimers(run_id=holds[0].id, position="0")

        def fire(store: Store) -> Callable[[], Any]:
            return lambda: store.apply([one, FireTimers(), FireTimers(limit=3)])

        at_once([fire(store) for store in (stage.store, another(), another())])
        stage.do(FireTimers())

        assert [len(stage.events(hold.id)) for hold in holds] == [1] * 10
        assert [list(stage.tasks(hold.id)) for hold in holds] == [[TURN]] * 10

    def test_batches_that_cross_each_other_all_succeed(self, stage: Stage, another: Another) -> None:
        runs = [stage.start().run.id for _ in range(6)]

        def deliver(store: Store, order: Sequence[UUID]) -> Callable[[], Any]:
            writes = [Deliver(run_id=run_id, event=SignalReceived(name="go")) for run_id in order]
            return lambda: [store.apply(writes) for _ in range(10)]

        at_once([deliver(stage.store, runs), deliver(another(), runs[::-1])])

        assert [stage.live(run_id).head for run_id in runs] == [20] * 6
        assert [len(stage.events(run_id)) for run_id in runs] == [20] * 6

    def test_parents_and_children_that_end_at_once_both_end(self, stage: Stage, another: Another) -> None:
        holds: list[Hold] = []
        children: list[Hold] = []
        for _ in range(6):
            hold = stage.begin()
            child = stage.child_of(hold, "0")
            hold.committed(starts=(child,))
            holds.append(hold)
            children.append(stage.hold(child.id, worker=2))

        def end(store: Store) -> Callable[[], Any]:
            return lambda: [store.apply([_ending(child)]) for child in children]

        def terminate() -> list[Any]:
            return [stage.operate(hold.id, Verb.TERMINATE) for hold in holds]

        at_once([end(another()), terminate])

        for hold, held in zip(holds, children, strict=True):
            assert stage.outcome(hold.id).status is Status.TERMINATED
            assert stage.outcome(held.id).status in {Status.COMPLETED, Status.TERMINATED}

    def test_many_threads_write_through_one_committer(self, stage: Stage) -> None:
        committer = Committer(stage.store)
        holds = [stage.begin() for _ in range(8)]

        def commit(hold: Hold) -> Callable[[], list[Any]]:
            writes = [
                Commit(run_id=hold.id, worker=1, epoch=hold.epoch, head=head, events=(resolved(str(head)),))
                for head in range(25)
            ]
            return lambda: [committer.write(write) for write in writes]

        found = at_once([commit(hold) for hold in holds])

        assert all(isinstance(answer, Committed) for answers in found for answer in answers)
        assert [len(stage.events(hold.id)) for hold in holds] == [25] * 8
        assert committer.writes == 200

    def test_what_goes_wrong_of_a_batch_leaves_no_trace(self, stage: Stage) -> None:
        """A store may carry out a part of a batch, if it says which."""
        row = stage.row("order-1")
        batch: list[Any] = [Start(run=row), Acquire(run_id=row.id, worker=1), _Unknown()]

        with pytest.raises((AssertionError, PartlyApplied)) as caught:
            stage.store.apply(batch)

        done = caught.value.answers if isinstance(caught.value, PartlyApplied) else [None] * len(batch)
        found = stage.store.find(NAMESPACE, "order-1")
        assert (found is not None) == (done[0] is not None)
        assert (found is not None and found.live is not None and found.live.owner == 1) == (
            done[1] is not None
        )
        assert done[2] is None

    def test_neighbours_of_a_write_that_cannot_be_stored_are_safe(self, stage: Stage) -> None:
        committer = Committer(stage.store)
        writes: list[Any] = [Start(run=stage.row(f"order-{turn}")) for turn in range(5)]
        writes[2] = _Unknown()

        def write(one: Any) -> Callable[[], Any]:
            return lambda: _is_created(committer, one)

        found = at_once([write(one) for one in writes])

        assert found == [True, True, False, True, True]


class _Unknown:
    """A write that nobody can carry out."""


def _is_created(committer: Committer, write: Write) -> bool:
    try:
        answer = committer.write(write)
    except AssertionError:
        return False
    return isinstance(answer, Started) and answer.created


def _ending(held: Hold) -> Commit:
    """The end of a sub-workflow, whatever has been told to it meanwhile."""
    assert held.run.parent_id is not None
    outcome = OutcomeRow(run_id=held.id, status=Status.COMPLETED, ended_at=held.run.created_at)
    event = resolved(held.run.parent_position or "", kind=Kind.WORKFLOW)
    report = Report(run_id=held.run.parent_id, event=event)
    return Commit(
        run_id=held.id, worker=held.worker, epoch=held.epoch, head=None, outcome=outcome, report=report
    )


def at_once(calls: Sequence[Callable[[], _T]]) -> list[_T]:
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
