"""Random writes on a store beside the one in memory: the same answers, and the same rows afterwards.

`store_machine(make)` builds a Hypothesis state machine. It needs Hypothesis.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import RunQuery, Store
from qwit_durable.stores.writes import Claim, Commit, Write
from qwit_durable.testing.contract.drawing import NAMESPACE, Drawing

__all__ = ["store_machine"]


def _rows_of(store: Store, run_ids: Sequence[UUID]) -> dict[Any, Any]:
    """All that a store's readers tell about these runs."""
    return {
        run_id: (
            store.view(run_id),
            list(store.history(run_id)),
            list(store.tasks(run_id)),
            list(store.timers(run_id)),
            store.before(run_id),
            list(store.published(run_id)),
        )
        for run_id in run_ids
    }


def _lists_of(store: Store, run_ids: Sequence[UUID]) -> dict[Any, Any]:
    """All that a store's readers tell about several runs at once."""
    found: dict[Any, Any] = {run_id: list(store.children(run_id)) for run_id in run_ids}
    found["workers"] = list(store.workers())
    found["counts"] = store.counts(NAMESPACE)
    found["open"] = list(store.runs(RunQuery(namespace=NAMESPACE, statuses=(Status.RUNNING, Status.PAUSED))))
    found["lanes"] = [store.lane(NAMESPACE, lane) for lane in ("left", "right")]
    found["in a lane"] = list(store.runs(RunQuery(namespace=NAMESPACE, lane="left", limit=3)))
    found["ended"] = list(store.runs(RunQuery(namespace=NAMESPACE, statuses=(Status.COMPLETED,), limit=2)))
    return found


def store_machine(
    make: Callable[[ManualClock], AbstractContextManager[Store]],
) -> type[RuleBasedStateMachine]:
    """A state machine that compares the stores that `make` opens, empty ones, with memory."""

    class StoreMachine(_Machine):
        def open_store(self, clock: ManualClock) -> AbstractContextManager[Store]:
            return make(clock)

    return StoreMachine


def _place_in_batch(write: Write) -> int:
    return -1 if isinstance(write, Commit) and write.outcome is not None else int(isinstance(write, Claim))


class _Machine(RuleBasedStateMachine):
    @abstractmethod
    def open_store(self, clock: ManualClock) -> AbstractContextManager[Store]:
        """An empty store."""

    @initialize()
    def open(self) -> None:
        self.clock = ManualClock()
        self.oracle = MemoryStore(self.clock)
        self.drawing = Drawing(self.oracle, self.clock)
        self.cleanup = ExitStack()
        self.store = self.cleanup.enter_context(self.open_store(self.clock))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            with self.cleanup:
                known = self.drawing.run_ids
                assert _rows_of(self.store, known) == _rows_of(self.oracle, known)
                assert _lists_of(self.store, known) == _lists_of(self.oracle, known)

    @rule(seconds=st.sampled_from([1, 4, 11, 40]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(data=st.data())
    def one_write(self, data: st.DataObject) -> None:
        self.apply([self.drawing.draw(data.draw)])

    @rule(data=st.data(), count=st.integers(2, 4))
    def a_batch(self, data: st.DataObject, count: int) -> None:
        # Those who wait for a batch wait for all of it, so it has no order. Stores may carry out ends first, which say
        # who comes to the head of a lane, and claims last.
        drawn = [self.drawing.draw(data.draw) for _ in range(count)]
        self.apply(sorted(drawn, key=_place_in_batch))

    @rule(data=st.data(), between=st.booleans())
    def appends(self, data: st.DataObject, between: bool) -> None:  # noqa: FBT001 - drawn
        writes = self.drawing.appends(data.draw)
        if between:
            writes.insert(len(writes) // 2, self.drawing.draw(data.draw))
        self.apply(writes)

    def apply(self, writes: list[Write]) -> None:
        """Carry out a batch on both, and compare the answers and the rows of the runs it names."""
        wanted = self.oracle.apply(writes)
        assert self.store.apply(writes) == wanted
        named = {getattr(write, "run_id", None) for write in writes}
        touched = [run_id for run_id in self.drawing.run_ids if run_id in named]
        assert _rows_of(self.store, touched) == _rows_of(self.oracle, touched)
        known = [(run_id, 0, number % 3) for number, run_id in enumerate(touched)]
        looks = list(self.store.glance(known))
        assert not looks or looks == list(self.oracle.glance(known))
