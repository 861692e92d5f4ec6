"""Asynchronous steps of an embedded worker: their event loop begins with the first one and ends with the worker."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

from dramatiq.asyncio import EventLoopThread

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.broker.loop import Loop


@step
async def fetch(number: int) -> int:
    await asyncio.sleep(0)
    return number


@workflow
def fetched(number: int) -> Workflow[int]:
    return (yield from fetch(number))


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, EventLoopThread)]


def test_no_event_loop_is_left_behind_by_an_embedded_worker_and_the_next_one_has_its_own():
    before = loops()
    durable = Durable("memory://")

    values = []
    for number in range(2):
        with durable.embedded(threads=2):
            values.append(durable.start(fetched, number).result(timeout=10))

    assert values == [0, 1]
    assert loops() == before


def test_what_still_runs_on_a_loop_that_ends_is_cancelled():
    loop = Loop()
    began, told = threading.Event(), []

    async def for_ever() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    def attempt() -> None:
        try:
            loop.run(for_ever())
        except CancelledError:
            told.append("the attempt is told")

    thread = threading.Thread(target=attempt)
    thread.start()
    assert began.wait(10)

    loop.close()
    thread.join(10)

    assert not thread.is_alive()
    assert told == ["cancelled", "the attempt is told"]
