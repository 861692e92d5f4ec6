"""Whoever waits for a run is told when it ends in this process, and asks the store no more than that takes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from qwit_durable.client import waiting
from qwit_durable.client.access import Endings
from qwit_durable.language import Workflow, wait_signal, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment


class WatchedStore(MemoryStore):
    """Counts the looks at runs, and tells of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.seen = threading.Event()

    def view(self, run_id: Any) -> Any:
        try:
            return super().view(run_id)
        finally:
            self.looks += 1
            self.seen.set()


@workflow
def door() -> Workflow[str]:
    return (yield from wait_signal("open", type=str))


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def environment(store: WatchedStore) -> Environment:
    return Environment(store)


@pytest.fixture(autouse=True)
def _no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_POLL_SECONDS", 3600)
    monkeypatch.setattr(waiting, "_LAST_POLL_SECONDS", 3600)


def test_a_waiting_thread_is_told_of_its_runs_end(environment: Environment, store: WatchedStore) -> None:
    handle, other = environment.start(door), environment.start(door)
    environment.settle()
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(handle.result)
        assert store.seen.wait(10)

        other.signal("open", "b")
        environment.settle()
        handle.signal("open", "a")
        environment.settle()

        assert result.result(10) == "a"
    assert store.looks <= 4  # two of the waiting thread; one a signal


def test_a_waiting_coroutine_is_told_of_its_runs_end(environment: Environment, store: WatchedStore) -> None:
    handle = environment.start(door)
    environment.settle()

    def end() -> None:
        assert store.seen.wait(10)
        handle.signal("open", "a")
        environment.settle()

    async def both() -> str:
        ending = asyncio.create_task(asyncio.to_thread(end))
        async with asyncio.timeout(10):
            value = await handle
        await ending
        return value

    assert asyncio.run(both()) == "a"


def test_each_is_told_of_its_own_run_and_only_while_it_watches() -> None:
    endings = Endings()
    told: list[str] = []
    one, other = UUID(int=1), UUID(int=2)

    with endings.watch(one, lambda: told.append("first")), endings.watch(one, lambda: told.append("second")):
        endings.ended(other)
        endings.ended(one)
    endings.ended(one)

    assert told == ["first", "second"]


def test_a_run_that_ends_after_the_event_loop_harms_nobody() -> None:
    endings = Endings()
    loop = asyncio.new_event_loop()
    loop.close()
    told: list[str] = []

    def tell() -> None:
        told.append("tried")
        waiting.tell_loop(loop, asyncio.Event())

    with endings.watch(UUID(int=1), tell):
        endings.ended(UUID(int=1))

    assert told == ["tried"]
