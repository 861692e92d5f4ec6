"""Races, sagas and maps: parts of a body that are closed, undone and answered by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from qwit_durable.core import (
    Advance,
    CancelRequested,
    Dropped,
    Kind,
    OperatorActed,
    Resolved,
    Status,
    UndoGaveUp,
    Unwind,
    UnwindStarted,
    Value,
    Verb,
)
from qwit_durable.errors import StepFailed
from tests.core.asking import (
    CANCEL,
    SLEEP,
    Play,
    child,
    done,
    dropped,
    encode,
    failed,
    failure,
    fired,
    gather,
    mapped,
    race,
    resolved,
    saga,
    scheduled,
    sent,
    signal,
    step,
    undo_failed,
    undone,
)

A, B, C = step("a"), step("b"), step("c")
OWING = step("owing", undo="completed")
OTHER = step("other", undo="completed")


def asks(*commands: Any) -> Callable[[], Any]:
    """A body that yields these, catches nothing, and returns the answers."""

    def body() -> Any:
        answers = []
        for command in commands:
            answers.append((yield command))
        return answers

    return body


def branch(*commands: Any, error: Exception | None = None) -> Any:
    answers = []
    for command in commands:
        answers.append((yield command))
    if error is not None:
        raise error
    return answers


def catching(command: Callable[[], Any], *then: Any) -> Callable[[], Any]:
    """A body that catches what the first command raises and goes on with the others."""

    def body() -> Any:
        try:
            answers = [(yield command())]
        except Exception as error:  # noqa: BLE001 - whatever it is
            answers = [type(error).__name__]
        for one in then:
            answers.append((yield one))
        return answers

    return body


# -- race ----------------------------------------------------------------------------------------------------------


def test_first_to_finish_wins_and_the_body_goes_on_at_once():
    """The losers settle while the body asks for its next command."""
    play = Play(asks(race(A, SLEEP), C))
    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1", SLEEP), fired("0.1"))

    assert play.begin == {"1": "c"}
    assert play.settle == {"0.0": "a"}

    play.feed(done("1", C), dropped("0.0", A))
    assert play.value == [[1, None], None]


def test_run_ends_only_when_the_losers_have_settled():
    play = Play(asks(race(A, SLEEP)))

    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1", SLEEP), fired("0.1"))
    assert play.settle == {"0.0": "a"}

    play.feed(done("0.0", A))
    assert play.value == [[1, None]]


def test_loser_that_completes_all_the_same_is_undone_at_once():
    play = Play(asks(race(OWING, SLEEP), C))
    play.feed(scheduled("0.0", OWING, queued=True), scheduled("0.1", SLEEP), fired("0.1"))

    play.feed(done("0.0", OWING, "late"))

    assert play.begin == {"~0.0": "owing", "1": "c"}
    play.feed(undone("0.0", "owing"), done("1", C))
    assert play.finish.status is Status.COMPLETED


def test_what_a_losing_branch_did_is_undone_newest_first():
    play = Play(asks(race(branch(OWING, OTHER, C), SLEEP)))
    play.feed(done("0.0.0", OWING), done("0.0.1", OTHER), scheduled("0.1", SLEEP), fired("0.1"))

    play.feed(dropped("0.0.2", C))

    assert play.begin == {"~0.0.1": "other"}
    play.feed(undone("0.0.1", "other"))
    assert play.begin == {"~0.0.0": "owing"}
    play.feed(undone("0.0.0", "owing"))
    assert play.value == [[1, None]]


def test_what_the_winner_did_stays_owed():
    play = Play(asks(race(OWING, SLEEP), C))

    play.feed(done("0.0", OWING), dropped("0.1", SLEEP), failed("1", C))

    assert play.plan == ["0.0"]


def test_failure_of_the_first_to_finish_is_raised():
    play = Play(catching(lambda: race(A, SLEEP), C))

    play.feed(failed("0.0", A))

    assert play.begin == {"1": "c"}
    assert play.settle == {"0.1": "sleep"}


def test_losing_signal_wait_takes_no_signal():
    play = Play(asks(race(A, signal("go")), signal("go")))

    play.feed(done("0.0", A), sent("go", "mine"), dropped("0.1", signal("go")))

    assert play.value == [[0, None], "mine"]


def test_losing_sub_workflow_that_completed_is_reopened():
    play = Play(asks(race(child("sub"), SLEEP)))
    play.feed(scheduled("0.0", child("sub")), scheduled("0.1", SLEEP), fired("0.1"))

    play.feed(done("0.0", child("sub"), owes=True))

    assert play.begin == {"~0.0": "sub"}


def test_cancel_while_a_loser_is_undone_waits_for_that():
    """The scope's own plan is carried out; the run's plan has the rest."""
    play = Play(asks(OTHER, race(OWING, SLEEP), C))
    play.feed(done("0", OTHER), scheduled("1.0", OWING, queued=True), scheduled("1.1", SLEEP), fired("1.1"))
    play.feed(done("1.0", OWING))

    play.feed(CANCEL, dropped("2", C))
    assert play.begin == {"~1.0": "owing"}

    play.feed(undone("1.0", "owing"))
    assert play.begin == {"~0": "other"}
    plans = [event.plan for event in play.history if isinstance(event, UnwindStarted)]
    assert [[debt.position for debt in plan] for plan in plans] == [["1.0"], ["0"]]


def test_cancel_without_compensation_leaves_a_loser_as_it_is():
    play = Play(asks(race(OWING, SLEEP), C))
    play.feed(scheduled("0.0", OWING, queued=True), scheduled("0.1", SLEEP), fired("0.1"))

    play.feed(CancelRequested(compensate=False), dropped("1", C), done("0.0", OWING))

    assert play.finish.status is Status.CANCELLED


# -- saga ----------------------------------------------------------------------------------------------------------


def test_saga_answers_with_the_value_of_its_branch():
    play = Play(asks(saga(branch(A, B))))

    play.feed(done("0.0.0", A, 1), done("0.0.1", B, 2))

    assert play.value == [[1, 2]]


def test_failed_saga_undoes_its_own_steps_alone_before_it_raises():
    play = Play(catching(lambda: saga(branch(OWING, OTHER, A)), C))
    play.feed(done("0.0.0", OWING), done("0.0.1", OTHER), failed("0.0.2", A))
    assert play.begin == {"~0.0.1": "other"}

    play.feed(undone("0.0.1", "other"))
    assert play.begin == {"~0.0.0": "owing"}

    play.feed(undone("0.0.0", "owing"))
    assert play.begin == {"1": "c"}
    play.feed(done("1", C))
    assert play.value == ["StepFailed", None]


def test_what_came_before_a_saga_stays_owed():
    def body():
        yield OTHER
        try:
            yield saga(branch(OWING, error=ValueError("no")))
        except ValueError:
            yield C

    play = Play(body)
    play.feed(done("0", OTHER), done("1.0.0", OWING))
    play.feed(undone("1.0.0", "owing"), failed("2", C))

    assert play.begin == {"~0": "other"}


def test_saga_that_returns_leaves_its_debts_to_the_scope_around_it():
    play = Play(asks(OTHER, saga(branch(OWING)), C))

    play.feed(done("0", OTHER), done("1.0.0", OWING), failed("2", C))

    assert play.plan == ["1.0.0", "0"]


def test_saga_in_a_saga():
    """The inner one is undone by itself; what the outer one did before stays until it fails."""

    def outer():
        yield OWING
        try:
            yield saga(branch(OTHER, A))
        except StepFailed:
            yield B

    play = Play(catching(lambda: saga(outer()), C))
    play.feed(done("0.0.0", OWING), done("0.0.1.0.0", OTHER), failed("0.0.1.0.1", A))
    assert play.begin == {"~0.0.1.0.0": "other"}

    play.feed(undone("0.0.1.0.0", "other"))
    assert play.begin == {"0.0.2": "b"}

    play.feed(failed("0.0.2", B))
    assert play.begin == {"~0.0.0": "owing"}


def test_members_of_a_gather_go_on_while_a_saga_beside_them_is_undone():
    play = Play(asks(gather(saga(branch(OWING, A)), branch(B, C))))
    play.feed(done("0.0.0.0", OWING), failed("0.0.0.1", A))

    assert play.begin == {"~0.0.0.0": "owing", "0.1.0": "b"}

    play.feed(done("0.1.0", B))
    assert play.begin == {"~0.0.0.0": "owing", "0.1.1": "c"}


def test_gather_that_fails_waits_for_a_saga_that_is_being_undone():
    play = Play(catching(lambda: gather(saga(branch(OWING, A)), B), C))
    play.feed(done("0.0.0.0", OWING), failed("0.0.0.1", A), failed("0.1", B))

    assert play.begin == {"~0.0.0.0": "owing"}

    play.feed(undone("0.0.0.0", "owing"))
    assert play.begin == {"1": "c"}


def test_undo_of_a_scope_that_gives_up_halts_the_run_and_retry_goes_on():
    play = Play(catching(lambda: saga(branch(OWING, A)), C))
    play.feed(done("0.0.0", OWING), failed("0.0.1", A))
    play.feed(undo_failed("0.0.0", "owing"))
    assert isinstance(play.halt.reason, UndoGaveUp)

    play.feed(OperatorActed(verb=Verb.RETRY))
    assert play.begin == {"~0.0.0": "owing"}

    play.feed(undone("0.0.0", "owing"))
    assert play.begin == {"1": "c"}


def test_saga_around_a_single_call():
    play = Play(catching(lambda: saga(A), C))

    play.feed(failed("0.0", A))

    assert play.begin == {"1": "c"}


# -- map -----------------------------------------------------------------------------------------------------------


def mapping(*items: Any, **options: Any) -> Any:
    return mapped("each", *items, **options)


def handed(position: str, command: Any, upto: int) -> Any:
    return attrs.evolve(scheduled(position, command, queued=True), upto=upto)


def call(position: str, outcome: Any, args: bytes = b"null", attempt: int = 1) -> Resolved:
    return Resolved(
        position=position, kind=Kind.MAP, name="each", args=args, outcome=outcome, attempt=attempt
    )


def test_map_answers_in_the_order_of_its_items():
    command = mapping(1, 2, 3)
    play = Play(asks(command))
    assert play.begin == {"0": "each"}

    play.feed(handed("0", command, 2))
    assert play.begin == {"0": "each"}
    play.feed(handed("0", command, 3))
    assert play.waiting == {"0": "each"}
    assert play.advance.awaiting == 3

    play.feed(*(call(f"0.{n}", Value(encode(n * 10))) for n in (2, 0)))
    assert play.advance.awaiting == 1
    play.feed(call("0.1", Value(encode(10))))
    assert play.value == [[0, 10, 20]]


def test_map_of_nothing_is_answered_at_once():
    assert Play(asks(mapping())).value == [[]]


def test_failed_call_of_a_map_waits_for_attempts_under_way():
    command = mapping(1, 2, 3)
    play = Play(catching(lambda: command, C))
    play.feed(handed("0", command, 3), call("0.1", failure()))
    assert play.settle == {"0": "each"}

    play.feed(resolved("0", command, Dropped(begun=True, left=1)))
    assert play.advance == Advance()

    play.feed(call("0.0", Value(b"1")))
    assert play.begin == {"1": "c"}


def test_completed_calls_of_a_map_are_owed_newest_first():
    command = mapping(1, 2, undo="completed")
    play = Play(asks(command, C))

    play.feed(handed("0", command, 2), call("0.1", Value(b"1")), call("0.0", Value(b"1")), failed("1", C))

    assert play.plan == ["0.0", "0.1"]


def test_attempted_call_that_was_dropped_is_owed():
    command = mapping(1, 2, 3, undo="attempted")
    play = Play(asks(command))

    play.feed(handed("0", command, 3), call("0.1", failure()))
    play.feed(call("0.0", Dropped(begun=True), attempt=2), resolved("0", command, Dropped(begun=True)))

    assert play.plan == ["0.0", "0.1"]


@pytest.mark.parametrize("cut", range(1, 6))
def test_scopes_decide_the_same_in_any_slices(cut: int):
    events = [
        done("0.0.0.0", OWING),
        failed("0.0.0.1", A),
        done("0.1.0", B),
        UnwindStarted(cause=_plan_of_the_saga().cause, plan=_plan_of_the_saga().plan, scope="0.0"),
        undone("0.0.0.0", "owing"),
        failed("0.1.1", C),
    ]
    whole = Play(_saga_beside_a_branch)
    sliced = Play(_saga_beside_a_branch)

    one = whole.interpreter.feed(events)
    sliced.interpreter.feed(events[:cut])
    other = sliced.interpreter.feed(events[cut:])

    assert one == other


def _saga_beside_a_branch():
    return (yield gather(saga(branch(OWING, A)), branch(B, C)))


def _plan_of_the_saga() -> Unwind:
    play = Play(_saga_beside_a_branch)
    decision = play.interpreter.feed([done("0.0.0.0", OWING), failed("0.0.0.1", A), done("0.1.0", B)])
    assert isinstance(decision, Unwind)
    return decision


def test_signal_for_an_undo_of_a_scope_is_not_the_bodys():
    """An undo that waits takes the signal; the body's own wait of that name gets the next one."""
    play = Play(catching(lambda: saga(branch(OWING, A)), signal("go")))
    play.feed(done("0.0.0", OWING), failed("0.0.1", A))
    asks = attrs.evolve(undone("0.0.0", "owing"), outcome=Value(b"1", awaits="go"))

    play.feed(asks, scheduled("~0.0.0+", signal("go")), sent("go", "for the undo"))
    assert play.begin == {"~0.0.0++": "owing"}

    play.feed(attrs.evolve(undone("0.0.0", "owing"), position="~0.0.0++"), sent("go", "for the body"))
    assert play.value == ["StepFailed", "for the body"]
