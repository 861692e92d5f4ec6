"""Exceptions that strike an attempt's thread from outside: at a timeout, by a broker's time limit or shutdown."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.core import Retry
from qwit_durable.engine.attempting.watchdog import Attempt, Watchdog
from qwit_durable.errors import StepFailed
from qwit_durable.language import inside
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.testing.environment import Environment
from tests.language.inside import AnAttempt


@step(timeout=timedelta(hours=1), retry=Retry(max_attempts=1))
def ask(x: int) -> int:
    return x


@step(retry=Retry(max_attempts=1))
def hello(x: int) -> int:
    return x


@workflow
def asking(x: int) -> Workflow[int | str]:
    try:
        return (yield from ask(x))
    except StepFailed as failed:
        return failed.error.type


@workflow
def greeting(x: int) -> Workflow[int]:
    return (yield from hello(x))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Attempt]:
    """The attempts that are watched; nobody but the test interrupts them."""
    attempts: list[Attempt] = []
    monkeypatch.setattr(Watchdog, "watch", lambda _, attempt: attempts.append(attempt))
    return attempts


def test_timeout_that_falls_on_the_end_of_the_code_comes_too_late(watched: list[Attempt]) -> None:
    """What is around the step is neither watched when it is entered nor interrupted when it is left."""
    seen: list[object] = []

    @contextmanager
    def around(_: AttemptInfo) -> Generator[None]:
        seen.append(list(watched))
        yield
        seen.append([attempt.interrupt() for attempt in watched])

    with Environment(around_step=[around]) as environment:
        handle = environment.start(asking, 1)

        environment.settle()

    assert handle.result(0) == 1
    assert seen == [[], [False]]


def test_timeout_that_falls_on_the_beginning_of_the_code_interrupts_it(
    watched: list[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends as timed out, and the thread makes the next one."""

    def watch(_: Watchdog, attempt: Attempt) -> None:
        watched.append(attempt)
        attempt.interrupt()

    monkeypatch.setattr(Watchdog, "watch", watch)
    with Environment() as environment:
        late, next_ = environment.start(asking, 1), environment.start(greeting, 2)

        environment.settle()

    assert late.result(0) == "AttemptTimedOut"
    assert next_.result(0) == 2
    assert len(watched) == 1


def test_error_while_the_contexts_around_a_step_are_left_fails_that_attempt_alone() -> None:
    """The thread's context is as before, so that the next run finds nothing of the step."""

    @contextmanager
    def around(attempt: AttemptInfo) -> Generator[None]:
        yield
        if attempt.step == "ask":
            raise OSError

    before = dict(copy_context())
    with Environment(around_step=[around]) as environment:
        failed, next_ = environment.start(asking, 1), environment.start(greeting, 2)

        environment.settle()

    assert failed.result(0) == "OSError"
    assert next_.result(0) == 2
    assert dict(copy_context()) == before


def test_error_that_a_context_around_a_step_swallows_fails_it_all_the_same() -> None:
    """There is no value that could be recorded."""

    @contextmanager
    def around(_: AttemptInfo) -> Generator[None]:
        try:
            yield
        except ZeroDivisionError:
            return

    @step(retry=Retry(max_attempts=1))
    def divide() -> float:
        return 1 / 0

    @workflow
    def dividing() -> Workflow[str]:
        try:
            yield from divide()
        except StepFailed as failed:
            return failed.error.message
        return "there is a value"

    with Environment(around_step=[around]) as environment:
        handle = environment.start(dividing)

        environment.settle()

    assert handle.result(0) == "a context manager around step 'divide' swallowed the step's exception"


class Struck(BaseException):
    """As Dramatiq's `TimeLimitExceeded` and `Shutdown`."""


def test_thread_that_is_struck_while_an_attempt_begins_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever takes something back could be struck, too, so nothing is: each attempt has a context of its own."""
    before = dict(copy_context())
    real = inside.enter

    def struck(value: Any) -> None:
        real(value)
        raise Struck

    monkeypatch.setattr(inside, "enter", struck)
    with pytest.raises(Struck):
        inside.call_inside(AnAttempt("ask"), object)

    assert dict(copy_context()) == before
