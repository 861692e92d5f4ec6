"""Attempts that die, time out, drain, or come back too late."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest

from qwit_durable.app import Durable
from qwit_durable.clock import ManualClock
from qwit_durable.core import AttemptFailed, Resolved, Retry, Status
from qwit_durable.engine.attempting import watchdog
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import (
    AttemptLost,
    AttemptTimedOut,
    EncodingError,
    Failure,
    StepFailed,
    StoreUnavailable,
    WorkflowFailed,
)
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.writes import Write
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied


@attrs.define
class Script:
    """What the steps of this file do at each of their attempts."""

    dies_in: tuple[str, ...] = ()
    store: MortalStore | None = None
    draining: threading.Event | None = None
    calls: list[str] = attrs.field(factory=list)
    gate: threading.Event = attrs.field(factory=threading.Event)

    def call(self, name: str) -> None:
        """A step is called; if the script says so, its process dies in it: nothing is written any more."""
        self.calls.append(name)
        if self.draining is not None:
            self.draining.set()
        if name in self.dies_in and self.store is not None:
            self.store.is_dead = True


script = Script()


@pytest.fixture(autouse=True)
def fresh_script() -> None:
    """Steps start from nothing in each test."""
    global script
    script = Script()


@step
def reserve(item: str) -> str:
    script.call("reserve")
    return item


@reserve.undo(when="attempted")
def release(item: str, result: str | None) -> None:
    script.calls.append(f"release {result}")


@step(retry=Retry(max_attempts=1))
def once() -> int:
    script.call("once")
    return current().attempt


@step(retry=Retry(max_attempts=3, first=timedelta(0)), dispatch="queue")
def deadly() -> None:
    script.call("deadly")


@step
def boom() -> None:
    message = "boom"
    raise ValueError(message)


@workflow
def reserving() -> Workflow[str]:
    return (yield from reserve("chair"))


@workflow
def reserving_and_failing() -> Workflow[None]:
    yield from reserve("chair")
    yield from once()


@workflow
def only_once() -> Workflow[int]:
    return (yield from once())


@workflow
def twice_once() -> Workflow[int]:
    yield from reserve("chair")
    return (yield from once())


@workflow
def deadly_call() -> Workflow[str]:
    try:
        yield from deadly()
    except StepFailed as failed:
        assert failed.error.is_a(AttemptLost)
        assert failed.outcome_unknown
        return f"gave up after {failed.attempts}"
    return "survived"


def dying_process(store: MemoryStore, clock: ManualClock, *steps: str) -> Environment:
    """A process that dies in the first of these steps."""
    script.store = MortalStore(store)
    script.dies_in = steps
    return Environment(script.store, clock=clock)


def die(environment: Environment) -> None:
    """Let the process work until it dies."""
    with pytest.raises(ProcessDied):
        environment.settle()
    script.dies_in = ()


def world() -> tuple[MemoryStore, ManualClock]:
    """A store that outlives processes, and its clock."""
    clock = ManualClock()
    return MemoryStore(clock), clock


def test_worker_killed_in_first_command_with_attempted_undo_has_owed_it_before() -> None:
    """An `attempted` undo is in the store before the first attempt begins: a death in it forgets nothing."""
    store, clock = world()
    first, second = dying_process(store, clock, "reserve"), Environment(store, clock=clock)
    run_id = first.start(reserving).id
    die(first)

    handle = second.get(run_id)
    handle.cancel("changed my mind")
    second.settle()

    assert handle.status() is Status.CANCELLED
    assert script.calls == ["reserve", "release None"]


def test_lost_attempt_is_made_again_and_counted() -> None:
    """A worker's death costs one attempt, which history shows."""
    store, clock = world()
    first, second = dying_process(store, clock, "reserve"), Environment(store, clock=clock)
    handle = first.start(reserving)
    die(first)

    second.settle()

    assert second.get(handle.id).result(0) == "chair"
    events = [entry.event for entry in second.store.history(handle._run_id)]
    lost = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(event.attempt, event.failure.type) for event in lost] == [(1, "AttemptLost")]


def test_single_attempt_that_is_lost_fails_the_step_with_unknown_outcome() -> None:
    """max_attempts=1 means one execution, also when it dies: what was owed before is undone."""
    store, clock = world()
    first, second = dying_process(store, clock, "once"), Environment(store, clock=clock)
    run_id = first.start(reserving_and_failing).id
    die(first)

    handle = second.get(run_id)
    second.settle()

    assert handle.status() is Status.COMPENSATED
    assert script.calls == ["reserve", "once", "release chair"]
    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)
    assert caught.value.cause is not None
    assert caught.value.cause.outcome_unknown


def test_single_attempt_survives_a_drain() -> None:
    """A drain lets go of a run between two steps without burning an attempt of the second."""
    store, clock = world()
    first, second = Environment(store, clock=clock), Environment(store, clock=clock)
    script.draining = first.engine.services.draining
    handle = first.start(twice_once)
    first.answer_bells()
    assert script.calls == ["reserve"]
    first.engine.stop()

    second.settle()

    assert second.get(handle.id).result(0) == 1
    assert script.calls == ["reserve", "once"]


def test_single_attempt_survives_a_time_slice() -> None:
    """A time slice lets others go first without burning an attempt."""
    environment = Environment(settings=Settings(time_slice=timedelta(0)))
    handles = [environment.start(twice_once) for _ in range(3)]

    environment.settle()

    assert [handle.result(0) for handle in handles] == [1, 1, 1]
    assert script.calls.count("once") == 3
    assert script.calls[:3] == ["reserve", "reserve", "reserve"]


def test_queued_step_that_kills_its_worker_each_time_fails_in_the_end() -> None:
    """Starts count: three executions, then the step has failed, and the run goes on."""
    store, clock = world()
    handle = Environment(store, clock=clock).start(deadly_call)
    for _ in range(3):
        die(dying_process(store, clock, "deadly"))

    last = Environment(store, clock=clock)
    last.settle()

    assert last.get(handle.id).result(0) == "gave up after 3"
    assert script.calls == ["deadly"] * 3


def test_body_that_kills_its_worker_is_stuck_after_five_deaths() -> None:
    """A crash in the body itself has no step to blame: after five a person is asked."""
    store, clock = world()
    handle = Environment(store, clock=clock).start(dying_body)
    for _ in range(5):
        die(dying_process(store, clock, "body"))

    Environment(store, clock=clock).settle()

    assert handle.status() is Status.STUCK


@workflow
def dying_body() -> Workflow[None]:
    script.call("body")
    yield from once()


@step(timeout=timedelta(milliseconds=30), retry=Retry(max_attempts=2, first=timedelta(0)))
def stubborn() -> str:
    script.calls.append("stubborn")
    if current().attempt == 1:
        script.gate.wait(5)
        script.calls.append("late")
        return "late result"
    return "second attempt"


@workflow
def patient() -> Workflow[str]:
    return (yield from stubborn())


@workflow
def patient_in_queue() -> Workflow[str]:
    return (yield from stubborn.options(dispatch="queue")())


@pytest.mark.parametrize("body", [patient, patient_in_queue])
def test_result_that_arrives_after_its_timeout_is_refused(body: object) -> None:
    """The timeout is recorded on time although the code can't be interrupted; its result changes nothing later."""
    store = MemoryStore()
    with Durable(store).embedded(threads=2) as durable:
        handle = durable.start(body)  # type: ignore[call-overload]
        assert handle.result(5) == "second attempt"
        script.gate.set()

    events = [entry.event for entry in store.history(handle._run_id)]
    failed = [event for event in events if isinstance(event, AttemptFailed)]
    resolved = [event for event in events if isinstance(event, Resolved)]
    assert [event.failure.type for event in failed] == ["AttemptTimedOut"]
    assert failed[0].failure.is_a(AttemptTimedOut)
    assert failed[0].failure.outcome_unknown
    assert len(resolved) == 1


class Away(MemoryStore):
    """Out of reach while the code that is over its time still runs: so many times."""

    away = 2

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        if script.calls == ["stubborn"] and self.away and "AttemptTimedOut" in repr(writes):
            self.away -= 1
            raise StoreUnavailable("the database is restarted")
        return super().apply(writes)


@pytest.mark.parametrize("body", [patient, patient_in_queue])
def test_a_timeout_is_recorded_when_the_store_is_back_and_others_are_kept_meanwhile(
    body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_AGAIN_SECONDS", 0.05)
    store = Away()
    with Durable(store).embedded(threads=2) as durable:
        value = durable.start(body).result(10)  # type: ignore[call-overload]
        other = durable.start(spin).result(10)
        script.gate.set()

    assert store.away == 0
    assert (value, other) == ("second attempt", "AttemptTimedOut")


def test_the_thread_that_keeps_timeouts_ends_when_there_are_none_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "_IDLE_SECONDS", 0)

    others, values = set(threading.enumerate()), []

    def keepers() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "qwit-watchdog" and one not in others]

    with Durable(MemoryStore()).embedded(threads=1) as durable:
        for _ in range(3):
            values.append(durable.start(spin).result(10))
            while mine := keepers():
                mine[0].join(10)

    assert values == ["AttemptTimedOut"] * 3


@step(timeout=timedelta(milliseconds=30), retry=Retry(max_attempts=1))
def spinning() -> None:
    while True:
        pass


@workflow
def spin() -> Workflow[str]:
    try:
        yield from spinning()
    except StepFailed as failed:
        return failed.error.type
    return "ended"


def test_python_code_is_interrupted_at_its_timeout() -> None:
    """Code that runs Python is ended; its thread is free for the next run."""
    with Durable(MemoryStore()).embedded(threads=1) as durable:
        assert durable.start(spin).result(5) == "AttemptTimedOut"
        assert durable.start(spin).result(5) == "AttemptTimedOut"


@step
async def asynchronous(x: int) -> int:
    return x + current().attempt


@step(timeout=timedelta(milliseconds=30), retry=Retry(max_attempts=1))
async def asynchronous_forever() -> None:
    import asyncio

    await asyncio.Event().wait()


@workflow
def coroutines() -> Workflow[tuple[int, ...]]:
    one = yield from asynchronous(1)
    rest = yield from gather(asynchronous(2), asynchronous(3))
    try:
        yield from asynchronous_forever()
    except StepFailed as failed:
        assert failed.error.is_a(AttemptTimedOut)
    return (one, *rest)


def test_async_steps_run_and_time_out_like_others() -> None:
    """Coroutines get values, context and timeouts, inline and queued."""
    with Durable(MemoryStore()).embedded(threads=2) as durable:
        assert durable.start(coroutines).result(5) == (2, 3, 4)


def test_recorded_failure_is_data() -> None:
    """A failure of a step is kept by names and never by class."""
    environment = Environment()
    handle = environment.start(booming)
    environment.settle()

    run = environment.store.find("default", handle.id)

    assert run is not None
    assert run.outcome is not None
    assert isinstance(run.outcome.failure, Failure)
    assert run.outcome.failure.root.type == "ValueError"


@workflow
def booming() -> Workflow[None]:
    yield from boom.options(retry=Retry(max_attempts=1))()


def test_thousand_runs_waiting_on_one_thread_all_finish() -> None:
    """A waiting run holds no thread: a thousand of them share one."""
    environment = Environment()
    handles = [environment.start(sleeper, number) for number in range(1000)]

    environment.settle()

    assert [handle.result(0) for handle in handles] == list(range(1000))


@workflow
def sleeper(number: int) -> Workflow[int]:
    from qwit_durable.language.verbs import sleep

    yield from sleep(timedelta(hours=1 + number % 7))
    return number


@step
def takes_text(text: str) -> int:
    return len(text)


@workflow
def too_large() -> Workflow[str]:
    try:
        yield from takes_text("x" * 2_000)
    except EncodingError as error:
        return str(error)
    return "sent"


def test_argument_over_the_limit_is_refused_in_the_body_and_nothing_is_stored() -> None:
    """A size limit gives a clear error at the call, before anything of it is stored."""
    environment = Environment(settings=Settings(limit_bytes=1_000))
    handle = environment.start(too_large)

    environment.settle()

    assert "the arguments of step 'takes_text'" in handle.result(0)
    assert not environment.store.history(handle._run_id)


@workflow
def computing_with_a_call() -> Workflow[int]:
    yield from reserve("chair")
    x = once()
    return x + 1  # type: ignore[operator, no-any-return]


@workflow
def returning_a_call() -> Workflow[int]:
    yield from reserve("chair")
    return once()  # type: ignore[return-value]


@workflow
def comparing_a_call() -> Workflow[int]:
    if once() == 1:
        yield from reserve("chair")
    return 1


@pytest.mark.parametrize("body", [computing_with_a_call, returning_a_call, comparing_a_call])
def test_forgotten_yield_whose_value_is_used_leaves_the_run_stuck_and_undoes_nothing(body: object) -> None:
    """Computing with a call, comparing it or returning it is no failure of the run: a fixed deploy goes on."""
    environment = Environment()
    handle = environment.start(body)  # type: ignore[call-overload]

    environment.settle()

    assert handle.status() is Status.STUCK
    assert "likely cause: a forgotten `yield from`" in str(handle.explain())
    assert not [call for call in script.calls if call.startswith("release")]


def test_waiting_in_asyncio_can_be_given_up() -> None:
    """A wait with a timeout leaves no thread behind that would hold up the end of the loop."""
    import asyncio

    with Durable(MemoryStore()).embedded(threads=1) as durable:
        handle = durable.start(never_told)

        async def wait() -> str:
            try:
                await asyncio.wait_for(_until_ended(handle), 0.05)
            except TimeoutError:
                return "gave up"
            return "ended"

        assert asyncio.run(wait()) == "gave up"
        handle.signal("go", "now")
        assert asyncio.run(_until_ended(handle)) == "now"


async def _until_ended(handle: object) -> object:
    return await handle  # type: ignore[misc]


@workflow
def never_told() -> Workflow[str]:
    from qwit_durable.language.verbs import wait_signal

    return (yield from wait_signal("go", str))


@step
def refusing() -> None:
    script.call("refusing")
    message = "no"
    raise LookupError(message)


@workflow
def refusing_in_queue() -> Workflow[None]:
    yield from refusing.options(dispatch="queue", retry=Retry(max_attempts=4, give_up_on=(LookupError,)))()


def test_give_up_on_of_one_call_travels_with_a_queued_step() -> None:
    """Per-call options hold on whichever worker makes the attempt."""
    environment = Environment()
    handle = environment.start(refusing_in_queue)

    environment.settle()

    assert handle.status() is Status.FAILED
    assert script.calls == ["refusing"]


@workflow
def large_value() -> Workflow[str]:
    yield from reserve("chair")
    return "x" * 2_000


def test_value_of_a_run_over_the_limit_fails_it() -> None:
    """The limit on size holds for what a body returns, too: what was done is undone."""
    environment = Environment(settings=Settings(limit_bytes=1_000))
    handle = environment.start(large_value)

    environment.settle()

    assert handle.status() is Status.COMPENSATED
    with pytest.raises(WorkflowFailed, match="the value of workflow 'large_value'"):
        handle.result(0)
