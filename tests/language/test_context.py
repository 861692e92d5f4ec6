"""What a step can learn about its own attempt."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context

import pytest

import qwit_durable.language
from qwit_durable.errors import NotRunningError
from qwit_durable.language import StepContext, current
from qwit_durable.language.inside import call_inside
from tests.language.inside import AnAttempt

CONTEXT = StepContext(run_id="r-1", step="charge", attempt=2, idempotency_key="key")


def test_the_context_is_there_inside_and_not_outside():
    """Outside the message says where it can be called."""
    assert call_inside(AnAttempt("charge", CONTEXT), current) is CONTEXT

    with pytest.raises(NotRunningError) as caught:
        current()

    assert str(caught.value) == (
        "current() was called where no step runs\n"
        "  likely cause: it is in a workflow's body, or in a thread that the step started by itself\n"
        "  way out: call it in the step, or start the thread with contextvars.copy_context().run"
    )


def test_cancelled_asks_each_time():
    """A long step that looks now and then sees the change."""
    answers = iter([False, True])
    context = StepContext(
        run_id="r-1", step="charge", attempt=1, idempotency_key="key", asked_to_stop=lambda: next(answers)
    )

    assert [context.cancelled, context.cancelled] == [False, True]
    assert not CONTEXT.cancelled


def test_the_context_follows_an_async_step_onto_a_loop_in_another_thread():
    """That is how coroutines are run for the threads of a worker."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def attempt() -> StepContext:
        await asyncio.sleep(0)
        return current()

    try:
        future = call_inside(
            AnAttempt("charge", CONTEXT), lambda: asyncio.run_coroutine_threadsafe(attempt(), loop)
        )
        found = future.result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()

    assert found is CONTEXT


def test_a_thread_with_a_copied_context_has_it():
    """As the message of the error says."""
    context = call_inside(AnAttempt("charge", CONTEXT), copy_context)

    assert context.run(current) is CONTEXT


def test_the_package_gives_the_functions_not_the_modules():
    """`current`, `step` and `workflow` are names of modules too."""
    for name in ("current", "step", "workflow"):
        assert callable(getattr(qwit_durable.language, name))
