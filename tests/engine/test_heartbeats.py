"""Attempts that report how far they have come, and those that fall silent; attempts that are asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock, monotonic
from qwit_durable.core import AttemptFailed, Retry, Status
from qwit_durable.engine.attempting import watchdog
from qwit_durable.errors import AttemptTimedOut, EncodingError, StepFailed, WorkflowFailed
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.task_writes import ReportProgress
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

MOMENT = timedelta(milliseconds=50)
SECOND = timedelta(seconds=1)
AT_ONCE = Retry(max_attempts=3, first=timedelta(0))

_PATIENCE_SECONDS = 20.0

seen: list[object] = []
work: Callable[[], object] = lambda: None  # noqa: E731 - replaced by each test
gate = threading.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing has been seen yet."""
    global gate
    seen.clear()
    gate = threading.Event()


class Hands:
    """The watchdog's time: it stands still until a test lets it go on, however long things take here."""

    def __init__(self) -> None:
        self._stands_at: float | None = monotonic()
        self._ahead = 0.0
        self.looked = threading.Event()

    def __call__(self) -> float:
        if threading.current_thread().name == "qwit-watchdog":
            self.looked.set()
        return self._ahead + monotonic() if self._stands_at is None else self._stands_at

    def advance(self, by: timedelta) -> None:
        """Let time pass, and have the watchdog look."""
        assert self._stands_at is not None
        self._stands_at += by.total_seconds()
        self.looked.clear()
        assert self.looked.wait(_PATIENCE_SECONDS)

    def go(self) -> None:
        """From now on time passes by itself; a heartbeat is due."""
        assert self._stands_at is not None
        self._ahead = self._stands_at - monotonic() + 2 * MOMENT.total_seconds()
        self._stands_at = None

    def stop(self) -> None:
        self._stands_at = self()


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(watchdog, "monotonic", hands)
    return hands


def does(what: Callable[[], object]) -> None:
    """Say what the steps do, at each of their attempts."""
    global work
    work = what


def spin() -> None:
    """Code that does not come back by itself, and can be interrupted."""
    until = monotonic() + _PATIENCE_SECONDS
    while monotonic() < until:
        pass


def silently(hands: Hands) -> None:
    """Time passes without a report."""
    hands.go()
    try:
        spin()
    finally:
        hands.stop()


def attempt() -> object:
    seen.append(current().last_heartbeat)
    return work()


@step(retry=AT_ONCE)
def plain() -> str:
    return str(attempt())


@step(retry=AT_ONCE, heartbeat=MOMENT)
def lively() -> str:
    return str(attempt())


@step(retry=AT_ONCE, heartbeat=MOMENT)
async def lively_async() -> str:
    return str(attempt())


@step
def book() -> None:
    """Has an undo."""


@book.undo(retry=AT_ONCE, heartbeat=MOMENT)
def unbook() -> None:
    attempt()


@step(retry=Retry(max_attempts=1))
def boom() -> None:
    message = "boom"
    raise ValueError(message)


@workflow
def calling(name: str) -> Workflow[str]:
    chosen = {"plain": plain, "lively": lively, "async": lively_async}[name.removesuffix(" queued")]
    if name.endswith("queued"):
        chosen = chosen.options(dispatch="queue")
    try:
        return (yield from chosen())
    except StepFailed as failed:
        assert failed.error.is_a(AttemptTimedOut)
        assert failed.outcome_unknown
        return f"timed out {failed.attempts} times"


@workflow
def undoing() -> Workflow[None]:
    yield from book()
    yield from boom()


@workflow
def beside_a_failure() -> Workflow[None]:
    yield from gather(plain(), boom())


EVERYWHERE = pytest.mark.parametrize("name", ["lively", "lively queued", "async", "async queued"])
PLAIN = pytest.mark.parametrize("name", ["plain", "plain queued"])


class TestProgress:
    @PLAIN
    def test_the_next_attempt_sees_what_the_last_one_reported(self, name):
        def go_on() -> str:
            begin = current().last_heartbeat or 0
            for page in range(begin, 10):
                if page == begin + 4:
                    raise OSError(page)
                current().heartbeat(page + 1)
            return "done"

        does(go_on)
        with Environment() as environment:
            handle = environment.start(calling, name)

            environment.settle()

        assert seen == [None, 4, 8]
        assert handle.result(0) == "done"

    @PLAIN
    def test_what_was_written_survives_the_worker(self, name):
        clock = ManualClock()
        store = MemoryStore(clock)
        mortal = MortalStore(store)
        first = Environment(mortal, clock=clock)

        def die_after_reporting() -> None:
            current().heartbeat({"page": 7, "of": ["a", "b"]})
            mortal.is_dead = True

        does(die_after_reporting)
        handle = first.start(calling, name)
        with pytest.raises(ProcessDied):
            first.settle()
        does(lambda: "done")
        with Environment(store, clock=clock) as second:
            second.settle()

            result = second.get(handle.id).result(0)

        assert seen == [None, {"page": 7, "of": ["a", "b"]}]
        assert result == "done"

    @PLAIN
    def test_writing_is_throttled(self, name):
        now = 0.0

        def report_often() -> str:
            nonlocal now
            for page in range(50):
                current().heartbeat(page)
                now += 0.1
            return "done"

        does(report_often)
        clock = ManualClock()
        store = _Counting(clock)
        with Environment(store, clock=clock) as environment:
            environment.engine.services.monotonic = lambda: now
            handle = environment.start(calling, name)

            environment.settle()

        assert handle.result(0) == "done"
        assert 3 <= store.reports <= 6

    @PLAIN
    def test_what_can_not_be_stored_is_refused(self, name):
        refused: list[str] = []

        def report_rubbish() -> str:
            for detail in (object(), "x" * 2_000_000):
                with pytest.raises(EncodingError) as caught:
                    current().heartbeat(detail)
                refused.append(str(caught.value))
            return "done"

        does(report_rubbish)
        with Environment() as environment:
            handle = environment.start(calling, name)

            environment.settle()

        assert handle.result(0) == "done"
        assert "heartbeat() in step 'plain'" in refused[0]
        assert "limit" in refused[1]

    def test_progress_of_an_undo_is_kept_too(self):
        def go_on() -> None:
            if current().last_heartbeat is None:
                current().heartbeat("half")
                raise OSError

        does(go_on)
        with Environment() as environment:
            handle = environment.start(undoing)

            environment.settle()

        assert handle.status() is Status.COMPENSATED
        assert seen == [None, "half"]

    def test_a_step_that_reports_goes_on_in_the_same_thread_without_a_replay(self):
        bodies: list[str] = []
        does(lambda: current().heartbeat(1))
        with Environment() as environment:
            handle = environment.start(reporting_three_times, bodies)

            environment.settle()

        assert handle.result(0) == 3
        assert runs == [1]


runs: list[int] = []


@workflow
def reporting_three_times(_: list[str]) -> Workflow[int]:
    runs.append(1)
    for _number in range(3):
        yield from plain()
    return 3


class _Counting(MemoryStore):
    reports = 0

    def apply(self, writes):
        self.reports += sum(isinstance(write, ReportProgress) for write in writes)
        return super().apply(writes)


class TestSilence:
    @EVERYWHERE
    def test_an_attempt_that_falls_silent_has_timed_out(self, name, hands):
        def fall_silent() -> None:
            current().heartbeat("here")
            silently(hands)

        does(fall_silent)
        with Environment() as environment:
            handle = environment.start(calling, name)

            environment.settle()

        assert handle.result(0) == "timed out 3 times"
        assert seen == [None, "here", "here"]
        failed = [
            e.event for e in environment.store.history(handle._run_id) if isinstance(e.event, AttemptFailed)
        ]
        assert all("reported no progress for 0:00:00.05" in e.failure.message for e in failed)

    @pytest.mark.parametrize("name", ["lively", "lively queued"])
    def test_one_that_sits_in_a_system_call_is_recorded_without_it(self, name, hands):
        def sit() -> str:
            current().heartbeat("here")
            if len(seen) == 1:
                gate.clear()
                hands.go()
                assert gate.wait(_PATIENCE_SECONDS)  # for the bell that is rung once it is recorded
            return "done"

        does(sit)
        with Environment() as environment:
            ring = environment.bells.ring
            environment.bells.ring = lambda rings, **how: (ring(rings, **how), hands.stop(), gate.set())
            handle = environment.start(calling, name)

            environment.settle()

        assert handle.result(0) == "done"
        assert seen == [None, "here"]

    @EVERYWHERE
    def test_an_attempt_that_reports_may_take_longer_than_its_heartbeat(self, name, hands):
        def keep_reporting() -> str:
            for page in range(4):
                current().heartbeat(page)
                hands.advance(MOMENT * 0.8)
            return "done"

        does(keep_reporting)
        with Environment() as environment:
            handle = environment.start(calling, name)

            environment.settle()

        assert handle.result(0) == "done"
        assert seen == [None]

    def test_an_undo_that_falls_silent_is_tried_again(self, hands):
        def fall_silent_once() -> None:
            if len(seen) == 1:
                silently(hands)

        does(fall_silent_once)
        with Environment() as environment:
            handle = environment.start(undoing)

            environment.settle()

        assert handle.status() is Status.COMPENSATED
        assert len(seen) == 2


class TestAskedToStop:
    @PLAIN
    def test_a_cancel_reaches_the_attempt(self, name):
        with Environment() as environment:
            handle = environment.start(calling, name)

            def cancel_and_look() -> None:
                environment.engine.services.monotonic = lambda: 0.0
                seen.append(current().cancelled)
                handle.cancel()
                seen.append(current().cancelled)
                environment.engine.services.monotonic = lambda: 0.3
                seen.append(current().cancelled)

            does(cancel_and_look)
            environment.settle()

        assert seen == [None, False, False, True]
        assert handle.status() is Status.CANCELLED

    @PLAIN
    def test_a_heartbeat_brings_the_answer_back(self, name):
        with Environment() as environment:
            handle = environment.start(calling, name)

            def cancel_and_report() -> None:
                environment.engine.services.monotonic = lambda: 0.0
                current().heartbeat(1)
                seen.append(current().cancelled)
                handle.cancel()
                environment.engine.services.monotonic = lambda: 1.1
                current().heartbeat(2)
                environment.store.cancel_asked = None  # type: ignore[assignment]
                seen.append(current().cancelled)

            does(cancel_and_report)
            environment.settle()

        assert seen == [None, False, True]

    def test_the_attempt_of_a_member_that_nobody_waits_for_is_told(self):
        clock = ManualClock()
        store = MemoryStore(clock)
        other = Environment(store, clock=clock)
        with Environment(store, clock=clock) as environment:
            handle = environment.start(beside_a_failure)

            def let_the_other_fail() -> None:
                seen.append(current().cancelled)
                other.bells.waiting.extend(environment.bells.waiting)
                # In a thread of its own, as another process would be: not within this step.
                settling = threading.Thread(target=other.settle, kwargs={"until": clock.now() + SECOND})
                settling.start()
                settling.join()
                environment.engine.services.monotonic = lambda: 1e9
                seen.append(current().cancelled)

            does(let_the_other_fail)
            environment.settle()

        assert seen == [None, False, True]
        with pytest.raises(WorkflowFailed, match="boom"):
            handle.result(0)
