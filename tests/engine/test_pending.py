"""Steps that are left open: completed, failed, cancelled or too late, before and after they have returned."""

from __future__ import annotations

import threading
from datetime import timedelta

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import AttemptFailed, Resolved, Retry, Status
from qwit_durable.errors import (
    AttemptLost,
    AttemptTimedOut,
    EncodingError,
    GiveUp,
    InvalidToken,
    OperationRefused,
    StepFailed,
    WorkflowCancelled,
    WorkflowFailed,
)
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.pending import pending
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@attrs.frozen
class Decision:
    """What an approver says."""

    by: str
    yes: bool


@attrs.define
class Desk:
    """Where tokens are handed over; `at_hand` is done between `pending()` and `return`."""

    tokens: list[str] = attrs.field(factory=list)
    undone: list[str] = attrs.field(factory=list)
    at_hand: object = None

    def hand_over(self, token: str) -> None:
        self.tokens.append(token)
        if callable(self.at_hand):
            self.at_hand(token)


desk = Desk()


@pytest.fixture(autouse=True)
def fresh_desk() -> None:
    """No token has been handed over."""
    global desk
    desk = Desk()


@step(retry=Retry(max_attempts=3, first=SECOND))
def approve(order: str) -> Decision:
    p = pending()
    desk.hand_over(p.token)
    return p


@approve.undo
def withdraw(order: str, result: Decision) -> None:
    desk.undone.append(f"{order} by {result.by}")


@step(retry=Retry(max_attempts=3, first=SECOND), deadline=DAY)
def approve_today(order: str) -> Decision:
    p = pending()
    desk.hand_over(p.token)
    return p


@step
async def approve_async(order: str) -> Decision:
    p = pending()
    desk.hand_over(p.token)
    return p


@step
def book(order: str) -> str:
    return f"book {order}"


@book.undo(retry=Retry(max_attempts=2, first=SECOND))
def unbook(order: str) -> None:
    p = pending()
    desk.hand_over(p.token)
    return p


@step
def boom() -> None:
    message = "boom"
    raise GiveUp(message)


@workflow
def approving(order: str) -> Workflow[str]:
    decision = yield from approve(order)
    again = yield from book(order)
    return f"{decision.by} {decision.yes} {again}"


@workflow
def approving_queued(order: str) -> Workflow[str]:
    decision = yield from approve.options(dispatch="queue")(order)
    again = yield from book(order)
    return f"{decision.by} {decision.yes} {again}"


@workflow
def approving_today(order: str) -> Workflow[str]:
    try:
        decision = yield from approve_today(order)
    except StepFailed as failed:
        assert failed.error.is_a(AttemptTimedOut)
        assert failed.outcome_unknown
        return f"late after {failed.attempts}"
    return decision.by


@workflow
def approving_async(order: str) -> Workflow[str]:
    decision = yield from approve_async(order)
    return decision.by


@workflow
def approving_both() -> Workflow[list[str]]:
    decisions = yield from gather(approve("a"), approve("b"))
    return [decision.by for decision in decisions]


@workflow
def approving_or_failing() -> Workflow[None]:
    yield from gather(approve("a"), late_boom())


@workflow
def late_boom() -> Workflow[None]:
    yield from sleep(SECOND)
    yield from boom()


@workflow
def undoing() -> Workflow[None]:
    yield from book("a")
    yield from boom()


BOTH = pytest.mark.parametrize("asked", [approving, approving_queued], ids=["inline", "queued"])
YES = Decision(by="Ann", yes=True)


class TestCompleting:
    @BOTH
    def test_the_run_waits_as_rows_and_goes_on_with_the_value(self, asked):
        with Environment() as environment:
            handle = environment.start(asked, "A")
            environment.settle()
            (token,) = desk.tokens
            waiting = environment.store.tasks(handle._run_id)

            done = environment.complete(token, YES)
            environment.settle()

        assert done
        assert [(task.owner, task.opened, task.rings) for task in waiting] == [(None, 1, 0)]
        assert handle.result(0) == "Ann True book A"
        assert not environment.store.timers(handle._run_id)

    @BOTH
    def test_a_completion_may_come_before_the_return(self, asked):
        with Environment() as environment:
            desk.at_hand = lambda token: environment.complete(token, YES)
            handle = environment.start(asked, "A")

            environment.settle()

        assert handle.result(0) == "Ann True book A"
        assert len(desk.tokens) == 1

    def test_an_async_step_can_be_left_open(self):
        with Environment() as environment:
            handle = environment.start(approving_async, "A")
            environment.settle()

            environment.complete(desk.tokens[0], YES)
            environment.settle()

        assert handle.result(0) == "Ann"

    def test_members_of_a_gather_are_completed_in_any_order(self):
        with Environment() as environment:
            handle = environment.start(approving_both)
            environment.settle()

            for token, by in zip(reversed(desk.tokens), ("Bob", "Ann"), strict=True):
                environment.complete(token, Decision(by=by, yes=True))
            environment.settle()

        assert handle.result(0) == ["Ann", "Bob"]

    def test_repeating_a_completion_changes_nothing(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()
            (token,) = desk.tokens

            answers = [environment.complete(token, Decision(by=by, yes=True)) for by in ("Ann", "Bob")]
            environment.settle()
            afterwards = environment.complete(token, YES)

        assert (answers, afterwards) == ([True, False], False)
        assert handle.result(0) == "Ann True book A"

    def test_a_value_that_does_not_fit_the_step_is_refused_and_the_step_stays_open(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()
            (token,) = desk.tokens

            with pytest.raises(EncodingError):
                environment.complete(token, "yes")
            environment.complete(token, YES)
            environment.settle()

        assert handle.result(0) == "Ann True book A"

    def test_a_value_beyond_the_limit_is_refused(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()

            with pytest.raises(EncodingError, match="limit"):
                environment.complete(desk.tokens[0], Decision(by="x" * 2_000_000, yes=True))

    def test_pending_asked_twice_gives_the_same_token(self):
        tokens: list[str] = []
        desk.at_hand = lambda _: tokens.append(pending().token)
        with Environment() as environment:
            environment.start(approving, "A")

            environment.settle()

        assert tokens == desk.tokens

    def test_a_paused_run_takes_the_completion_and_goes_on_when_it_is_resumed(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()
            handle.pause()

            environment.complete(desk.tokens[0], YES)
            environment.settle()
            before = handle.status()
            handle.resume()
            environment.settle()

        assert before is Status.PAUSED
        assert handle.result(0) == "Ann True book A"


class TestFailing:
    @BOTH
    def test_a_failed_attempt_is_followed_by_the_next_one_after_its_wait(self, asked):
        with Environment() as environment:
            handle = environment.start(asked, "A")
            environment.settle()

            ended = environment.fail(desk.tokens[0], "out of office")
            environment.settle()
            environment.complete(desk.tokens[1], YES)
            environment.settle()

        assert ended
        assert handle.result(0) == "Ann True book A"
        (failed,) = [e for e in _events(environment, handle) if isinstance(e, AttemptFailed)]
        assert (failed.attempt, str(failed.failure)) == (1, "Failed: out of office")
        assert failed.retry_at is not None

    @BOTH
    def test_an_attempt_may_be_failed_before_it_returns(self, asked):
        with Environment() as environment:
            desk.at_hand = lambda token: len(desk.tokens) == 1 and environment.fail(token, "no")
            handle = environment.start(asked, "A")
            environment.settle()

            environment.complete(desk.tokens[1], YES)
            environment.settle()

        assert handle.result(0) == "Ann True book A"

    @BOTH
    def test_give_up_allows_no_further_attempt(self, asked):
        with Environment() as environment:
            handle = environment.start(asked, "A")
            environment.settle()

            environment.fail(desk.tokens[0], GiveUp("never"))
            environment.settle()

        with pytest.raises(WorkflowFailed, match="never"):
            handle.result(0)
        assert len(desk.tokens) == 1

    def test_the_last_attempt_fails_the_step(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()

            for number in range(3):
                environment.fail(desk.tokens[number], ValueError(f"no {number}"))
                environment.settle()

        with pytest.raises(WorkflowFailed, match="after 3 attempts: ValueError: no 2"):
            handle.result(0)

    def test_failing_an_attempt_twice_or_too_late_changes_nothing(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()
            first = desk.tokens[0]

            answers = [environment.fail(first, "no") for _ in range(2)]
            environment.settle()
            superseded = environment.fail(first, "no")

        assert (answers, superseded) == ([True, False], False)
        assert len(desk.tokens) == 2

    def test_an_attempt_that_was_failed_may_still_be_completed(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()
            environment.fail(desk.tokens[0], "no")

            done = environment.complete(desk.tokens[0], YES)
            environment.settle()

        assert done
        assert handle.result(0) == "Ann True book A"
        assert len(desk.tokens) == 1

    def test_a_completed_step_can_not_be_failed(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()
            environment.complete(desk.tokens[0], YES)

            with pytest.raises(OperationRefused, match="completed already"):
                environment.fail(desk.tokens[0], "no")

    def test_an_error_that_is_none_is_refused(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()

            with pytest.raises(TypeError, match="a text, an exception or a Failure"):
                environment.fail(desk.tokens[0], 3)  # type: ignore[arg-type]


class TestDeadlines:
    def test_the_deadline_bounds_the_wait(self):
        with Environment() as environment:
            handle = environment.start(approving_today, "A")

            environment.settle()

        assert handle.result(0) == "late after 1"
        assert environment.clock.now() >= ManualClock().now() + DAY

    def test_the_deadline_counts_over_all_attempts(self):
        with Environment() as environment:
            handle = environment.start(approving_today, "A")
            environment.settle(until=environment.clock.now() + DAY / 2)
            environment.fail(desk.tokens[0], "no")

            environment.settle()

        assert handle.result(0) == "late after 2"
        assert environment.clock.now() < ManualClock().now() + DAY + timedelta(minutes=1)

    def test_a_completion_after_the_deadline_is_refused(self):
        with Environment() as environment:
            environment.start(approving_today, "A")
            environment.settle()

            with pytest.raises(OperationRefused, match=r"failed already.*deadline"):
                environment.complete(desk.tokens[0], YES)

    def test_a_completion_before_the_deadline_takes_its_timer_away(self):
        with Environment() as environment:
            handle = environment.start(approving_today, "A")
            environment.settle(until=environment.clock.now() + SECOND)

            environment.complete(desk.tokens[0], YES)
            environment.settle()

        assert handle.result(0) == "Ann"
        assert environment.clock.now() < ManualClock().now() + DAY


class TestSettling:
    def test_a_cancel_ends_an_open_step_at_once(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()

            handle.cancel("changed my mind")
            environment.settle()

        with pytest.raises(WorkflowCancelled):
            handle.result(0)
        with pytest.raises(OperationRefused, match="nobody waits"):
            environment.complete(desk.tokens[0], YES)

    @BOTH
    def test_a_cancel_before_the_return_ends_it_with_the_return(self, asked):
        with Environment() as environment:
            handle = environment.start(asked, "A")
            desk.at_hand = lambda _: handle.cancel()

            environment.settle()

        assert handle.status() is Status.CANCELLED

    @BOTH
    def test_what_is_completed_before_the_return_of_a_cancelled_run_is_undone(self, asked):
        with Environment() as environment:
            handle = environment.start(asked, "A")

            def cancel_and_complete(token: str) -> None:
                handle.cancel()
                environment.complete(token, YES)

            desk.at_hand = cancel_and_complete
            environment.settle()

        assert handle.status() is Status.CANCELLED
        assert desk.undone == ["A by Ann"]

    def test_a_failed_gather_ends_its_open_members(self):
        with Environment() as environment:
            handle = environment.start(approving_or_failing)

            environment.settle()

        assert handle.status() is Status.FAILED
        assert environment.clock.now() < ManualClock().now() + timedelta(minutes=1)

    def test_a_terminated_run_takes_no_completion(self):
        with Environment() as environment:
            handle = environment.start(approving, "A")
            environment.settle()
            handle.terminate()

            with pytest.raises(OperationRefused, match="its run has ended"):
                environment.complete(desk.tokens[0], YES)


class TestUndos:
    def test_an_undo_can_be_left_open(self):
        with Environment() as environment:
            handle = environment.start(undoing)
            environment.settle()
            before = handle.status()

            environment.complete(desk.tokens[0])
            environment.settle()

        assert before is Status.COMPENSATING
        assert handle.status() is Status.COMPENSATED

    def test_an_undo_that_is_failed_from_outside_too_often_gives_up(self):
        with Environment() as environment:
            handle = environment.start(undoing)

            for number in range(2):
                environment.settle()
                environment.fail(desk.tokens[number], "no")
            environment.settle()

        assert handle.status() is Status.STUCK


class TestLostWorkers:
    @BOTH
    def test_a_worker_that_dies_before_the_return_loses_the_attempt_and_the_next_one_is_made(self, asked):
        clock = ManualClock()
        store = MemoryStore(clock)
        mortal = MortalStore(store)
        first = Environment(mortal, clock=clock)

        def die(_: str) -> None:
            mortal.is_dead = True

        desk.at_hand = die
        handle = first.start(asked, "A")
        with pytest.raises(ProcessDied):
            first.settle()
        desk.at_hand = None
        with Environment(store, clock=clock) as second:
            second.settle()

            second.complete(desk.tokens[1], YES)
            second.settle()
            result = second.get(handle.id).result(0)

        assert result == "Ann True book A"
        (lost,) = [e for e in _events(second, handle) if isinstance(e, AttemptFailed)]
        assert (lost.attempt, lost.failure.is_a(AttemptLost)) == (1, True)

    @BOTH
    def test_the_token_of_a_lost_attempt_still_wins(self, asked):
        clock = ManualClock()
        store = MemoryStore(clock)
        mortal = MortalStore(store)
        first = Environment(mortal, clock=clock)

        def die(_: str) -> None:
            mortal.is_dead = True

        desk.at_hand = die
        handle = first.start(asked, "A")
        with pytest.raises(ProcessDied):
            first.settle()
        desk.at_hand = None
        with Environment(store, clock=clock) as second:
            second.settle()

            second.complete(desk.tokens[0], YES)
            second.settle()
            late = second.complete(desk.tokens[1], Decision(by="Bob", yes=False))
            result = second.get(handle.id).result(0)

        assert (result, late) == ("Ann True book A", False)
        (resolved,) = [e for e in _events(second, handle) if isinstance(e, Resolved) and e.name == "approve"]
        assert resolved.attempt == 1


class TestTokens:
    def test_a_changed_token_is_refused(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()
            (token,) = desk.tokens
            wrong = [
                token[:-1],
                token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
                "",
                "x",
                "é" * 40,
            ]

            for text in wrong:
                with pytest.raises(InvalidToken):
                    environment.complete(text, YES)

    def test_the_token_of_another_store_is_refused(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()

        with pytest.raises(InvalidToken, match="no token of this store"):
            Environment().complete(desk.tokens[0], YES)

    def test_the_token_of_another_namespace_is_refused(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()
            other = Environment(environment.store, clock=environment.clock, namespace="other")

            with pytest.raises(InvalidToken, match="namespace 'default'"):
                other.complete(desk.tokens[0], YES)

    def test_a_token_is_short_and_safe_in_urls(self):
        with Environment() as environment:
            environment.start(approving, "A")
            environment.settle()

        (token,) = desk.tokens
        assert token.replace("-", "").replace("_", "").isalnum()
        assert len(token) < 70

    def test_processes_share_one_secret(self):
        clock = ManualClock()
        store = MemoryStore(clock)
        Environment(store, clock=clock).start(approving, "A")
        Environment(store, clock=clock).start(approving, "B")
        with Environment(store, clock=clock) as environment:
            environment.settle()

        done = [Environment(store, clock=clock).complete(token, YES) for token in desk.tokens]

        assert done == [True, True]


class TestMisuse:
    def test_returning_what_another_attempt_was_given_fails_the_step(self):
        with Environment() as environment:
            handle = environment.start(returning_a_stranger)

            environment.settle()

        with pytest.raises(WorkflowFailed, match="had given another attempt"):
            handle.result(0)

    def test_a_step_that_fails_after_asking_is_tried_again(self):
        def fail(_: str) -> None:
            if current().attempt == 1:
                message = "the mail server is down"
                raise OSError(message)

        with Environment() as environment:
            desk.at_hand = fail
            handle = environment.start(approving, "A")
            environment.settle()

            environment.complete(desk.tokens[1], YES)
            environment.settle()

        assert handle.result(0) == "Ann True book A"

    def test_a_step_may_think_better_of_it_and_return_a_value(self):
        with Environment() as environment:
            handle = environment.start(thinking_better)

            environment.settle()

        assert handle.result(0) == "no need"
        with pytest.raises(OperationRefused):
            environment.fail(desk.tokens[0], "no")


kept: list[object] = []


@step(retry=Retry(max_attempts=2, first=SECOND))
def stranger() -> str:
    p = pending()
    kept.append(p)
    if len(kept) == 1:
        message = "first"
        raise OSError(message)
    return kept[0]


@workflow
def returning_a_stranger() -> Workflow[str]:
    return (yield from stranger())


@step
def perhaps() -> str:
    desk.hand_over(pending().token)
    return "no need"


@workflow
def thinking_better() -> Workflow[str]:
    return (yield from perhaps())


def test_threads_of_a_step_may_ask_for_the_token_at_once():
    tokens: list[str] = []

    def ask_in_threads(_: str) -> None:
        context = current()
        threads = [
            threading.Thread(target=lambda: tokens.append(context.open_for_completion())) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with Environment() as environment:
        desk.at_hand = ask_in_threads
        environment.start(approving, "A")

        environment.settle()

    assert set(tokens) == set(desk.tokens)


def _events(environment, handle):
    return [recorded.event for recorded in environment.store.history(handle._run_id)]
