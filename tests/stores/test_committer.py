"""Writes of several threads go together, and nobody waits for a thread that was interrupted."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.stores.answers import Started
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.writes import Start
from qwit_durable.testing.contract.stage import Stage


class SlowStore(MemoryStore):
    """Its first batch takes until it is let go on."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.sizes: list[int] = []

    def apply(self, writes):
        self.sizes.append(len(writes))
        self.begun.set()
        assert self.may_go_on.wait(10)
        return super().apply(writes)


class Interrupt(BaseException):
    """As Ctrl-C raises it."""


@pytest.fixture
def store():
    return SlowStore()


@pytest.fixture
def stage(store: SlowStore):
    return Stage(store, ManualClock())


def _until_waiting(committer: Committer, count: int) -> None:
    tick = threading.Event()
    while len(committer._queue._waiting) < count:
        tick.wait(0.001)


def test_writes_that_come_during_a_flush_are_the_next_one(store: SlowStore, stage: Stage):
    committer = Committer(store)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(committer.write, Start(run=stage.row()))
        assert store.begun.wait(10)
        others = [threads.submit(committer.write, Start(run=stage.row())) for _ in range(8)]
        _until_waiting(committer, 8)

        store.may_go_on.set()

        assert all(isinstance(one.result(10), Started) for one in (first, *others))
    assert store.sizes == [1, 8]
    assert (committer.flushes, committer.writes) == (2, 9)


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread alone"
)
def test_a_thread_that_is_interrupted_while_it_waits_holds_up_nobody(store: SlowStore, stage: Stage):
    def interrupted(*_: object) -> None:
        raise Interrupt

    committer = Committer(store)
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        with ThreadPoolExecutor(3) as threads:
            first = threads.submit(committer.write, Start(run=stage.row()))
            assert store.begun.wait(10)

            def interrupt() -> None:
                _until_waiting(committer, 1)
                signal.pthread_kill(main, signal.SIGUSR1)

            threads.submit(interrupt)
            with pytest.raises(Interrupt):
                committer.write(Start(run=stage.row("never")))
            store.may_go_on.set()

            assert isinstance(first.result(10), Started)
            assert isinstance(threads.submit(committer.write, Start(run=stage.row())).result(10), Started)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert store.find("contract", "never") is None
