"""Asynchronous steps of an embedded worker: their event loop begins with the first one and ends with the worker."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from inspect import CORO_CREATED, getcoroutinestate
from types import FrameType
from typing import Any

import pytest
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.broker.loop import Loop, LoopEnded
from qwit_durable.errors import Failure


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


def ends(loop: Loop, coroutine: Coroutine[Any, Any, Any]) -> list[object]:
    """How a coroutine ends on a loop, in a thread of its own."""
    found: list[object] = []

    def attempt() -> None:
        try:
            found.append(loop.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - told
            found.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    return found


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("is_nested", [False, True], ids=["itself", "by a task of its own"])
def test_a_step_that_asks_the_process_to_exit_is_told_so_and_its_neighbours_go_on(
    kind: type[BaseException], is_nested: bool
):
    loop = Loop()
    may_end = threading.Event()

    async def exits() -> None:
        raise kind("x")

    async def begins_a_task_that_exits() -> None:
        await asyncio.create_task(exits())

    async def neighbour() -> str:
        while not may_end.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0)
        return "fine"

    beside: list[object] = []
    thread = threading.Thread(target=lambda: beside.append(loop.run(neighbour())))
    thread.start()
    try:
        (end,) = ends(loop, begins_a_task_that_exits() if is_nested else exits())
        may_end.set()
        thread.join(10)
    finally:
        loop.close()

    assert isinstance(end, kind)
    assert beside == ["fine"]


def test_who_waits_for_a_loop_that_ends_is_told_and_may_have_had_its_effect():
    loop = Loop()
    dramatiqs = EventLoopThread(logging.getLogger("tests"))
    dramatiqs.start(timeout=5)
    set_event_loop_thread(dramatiqs)

    async def ends_the_loop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()

    try:
        (end,) = ends(loop, ends_the_loop())
    finally:
        set_event_loop_thread(None)

    assert isinstance(end, LoopEnded)
    assert Failure.of(end).outcome_unknown


class Struck(BaseException):
    """What an interrupt raises."""


def struck_at(instruction: int, call: Callable[[], object]) -> bool:
    """Interrupt this thread at the n-th instruction of a call; False if it is over before that."""
    left = instruction

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if "weakref" in frame.f_code.co_filename:
            return None  # what collects garbage swallows it
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise Struck
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Struck:
        return True
    finally:
        sys.settrace(before)
    return False


def strike_everywhere() -> None:
    """Interrupt a thread at each instruction of what it waits for a coroutine by; others are served after each."""
    loop = Loop()
    answers: list[int] = []

    async def answer(number: int) -> int:
        await asyncio.sleep(0)
        return number

    def others() -> None:
        answers.append(loop.run(answer(instruction)))

    instruction = 0
    others()
    is_struck = True
    while is_struck:
        instruction += 1
        own = answer(0)
        is_struck = struck_at(instruction, lambda coroutine=own: loop.run(coroutine))
        thread = threading.Thread(target=others, daemon=True)
        thread.start()
        thread.join(10)
        assert answers[-1] == instruction
        if getcoroutinestate(own) == CORO_CREATED:
            own.close()
    loop.close()

    assert instruction > 1


def test_an_interrupt_at_any_instruction_leaves_the_loop_to_others():
    # In a process of its own: in one that other tests have interrupted, the interpreter itself may spin when traced.
    strike = "from tests.broker.test_loop import strike_everywhere; strike_everywhere()"

    subprocess.run([sys.executable, "-c", strike], check=True, timeout=60)
