"""Options of one call hold wherever the call is made: in this thread, on a queue, or as an undo."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import AttemptFailed, Retry, Status
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import DefinitionError, StepFailed
from qwit_durable.language.groups import gather
from qwit_durable.language.options import check_reason
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.sqlite import SqliteStore
from qwit_durable.testing.environment import Environment

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
rung: list[tuple[str, str, int | None]] = []
calls: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    rung.clear()
    calls.clear()


def environment_that_listens(**options) -> Environment:
    """An environment that takes down which bells are rung."""
    environment = Environment(**options)
    ring = environment.engine.services.bells.ring

    def listen(rings, **kwargs):
        rung.extend((one.name, one.queue, one.priority) for one in rings if one.position)
        ring(rings, **kwargs)

    environment.engine.services.bells.ring = listen
    return environment


@step(retry=Retry(max_attempts=5, first=SECOND))
def flaky(name: str) -> None:
    calls.append(name)
    raise OSError(name)


@step(retry=Retry(delay=lambda attempt, error: timedelta(minutes=attempt), max_attempts=3))
def patient(name: str) -> None:
    calls.append(name)
    raise OSError(name)


@step
def boom() -> None:
    raise ValueError


@workflow
def compensating() -> Workflow[None]:
    urgent = flaky.options(
        retry=Retry(max_attempts=2, first=HOUR), queue="urgent", priority=3, dispatch="queue"
    )
    yield from compensate(urgent("undo"))
    yield from boom.options(retry=Retry(max_attempts=1))()


@workflow
def compensating_as_defined() -> Workflow[None]:
    yield from compensate(flaky("undo"))
    yield from boom.options(retry=Retry(max_attempts=1))()


@workflow
def trying(kind: str) -> Workflow[str]:
    chosen = {
        "own": patient,
        "queued": patient.options(dispatch="queue"),
        "changed": patient.options(dispatch="queue", retry=Retry(max_attempts=3, first=SECOND)),
        "late": flaky.options(deadline=timedelta(seconds=4)),
        "late, queued": flaky.options(deadline=timedelta(seconds=4), dispatch="queue"),
        "endless": flaky.options(timeout=timedelta.max, deadline=timedelta.max, retry=Retry(max_attempts=2)),
    }[kind]
    try:
        yield from chosen("a")
    except StepFailed as failed:
        return str(failed)
    return ""


def waits(environment, handle) -> list[timedelta]:
    recorded = environment.store.history(handle._run_id)
    return [
        each.event.retry_at - each.at for each in recorded if isinstance(each.event, AttemptFailed)
    ]  # fmt: skip


def test_a_compensation_keeps_the_options_of_its_call(tmp_path):
    # From a file and without kept interpreters, so that the plan is read back.
    clock = ManualClock()
    store = SqliteStore(f"sqlite:///{tmp_path}/qwit.db", clock=clock)
    store.open()
    with environment_that_listens(store=store, clock=clock, settings=Settings(cached_runs=0)) as environment:
        handle = environment.start(compensating)

        environment.settle()

    assert handle.status() is Status.STUCK
    assert calls == ["undo"] * 2
    assert waits(environment, handle) == [HOUR]
    assert set(rung) == {("flaky", "urgent", 3)}
    store.close()


def test_a_compensation_without_options_of_its_own_has_those_of_the_step():
    with Environment() as environment:
        handle = environment.start(compensating_as_defined)

        environment.settle()

    assert handle.status() is Status.STUCK
    assert calls == ["undo"] * 5


@pytest.mark.parametrize("kind", ["own", "queued"])
def test_the_callable_of_a_step_holds_inline_and_queued(kind):
    with Environment() as environment:
        handle = environment.start(trying, kind)

        environment.settle()

    assert waits(environment, handle) == [timedelta(minutes=1), timedelta(minutes=2)]


def test_a_retry_by_numbers_replaces_the_callable_of_the_step():
    with Environment() as environment:
        handle = environment.start(trying, "changed")

        environment.settle()

    assert waits(environment, handle) == [SECOND, 2 * SECOND]


@pytest.mark.parametrize("retry", [lambda attempt, error: SECOND, Retry(delay=lambda attempt, error: SECOND)])
def test_a_callable_for_one_call_is_refused(retry):
    with pytest.raises(DefinitionError, match="can't be a callable"):
        flaky.options(retry=retry)


@pytest.mark.parametrize("kind", ["late", "late, queued"])
def test_a_step_that_is_ended_by_its_deadline_says_so(kind):
    with Environment() as environment:
        handle = environment.start(trying, kind)

        environment.settle()

    assert handle.result(0) == (
        "step 'flaky' failed after 3 attempts; its deadline left no time for another: OSError: a"
    )


def test_durations_without_end_do_not_overflow():
    with Environment() as environment:
        handle = environment.start(trying.options(deadline=timedelta.max), "endless")
        sleeping = environment.start(never_ending)
        delayed = environment.start(never_ending.options(delay=timedelta.max))

        environment.settle()

    assert handle.result(0).startswith("step 'flaky' failed after 2 attempts")
    assert sleeping.status() is Status.RUNNING
    assert delayed.status() is Status.SCHEDULED
    assert "9999" in str(sleeping.explain())


@workflow(deadline=timedelta.max)
def never_ending() -> Workflow[None]:
    yield from gather(sleep(timedelta.max), wait_signal("never", timeout=timedelta.max))


def test_attributes_are_bounded():
    with pytest.raises(ValueError, match="attributes are 70,011 bytes of JSON, and the limit is 65,536"):
        Environment().start(never_ending.options(attributes={"a": "x" * 70_000 + "yy"}))


@pytest.mark.parametrize("verb", ["cancel", "terminate", "pause"])
def test_reasons_are_bounded(verb):
    with Environment() as environment:
        handle = environment.start(never_ending)

        with pytest.raises(ValueError, match="reason has at most"):
            getattr(handle, verb)("x" * 70_000)
        with pytest.raises(TypeError, match="reason is a str"):
            getattr(handle, verb)(5)


def test_a_reason_of_fitting_length_is_fine():
    check_reason("x" * 1_000, "cancel()")


@pytest.mark.parametrize("wrong", [3, "Approval", [int], lambda value: value])
def test_a_signal_of_no_type_is_refused_where_it_is_built(wrong):
    with pytest.raises(TypeError, match="type is a class or a generic alias"):
        wait_signal("approved", wrong)


@pytest.mark.parametrize("right", [None, int, list[int], int | None, dict[str, list[int]]])
def test_a_signal_of_a_type_is_built(right):
    assert wait_signal("approved", right) is not None
