"""What a failure, a deploy or an operator leaves behind in the scopes of a body."""

from __future__ import annotations

import pytest

from qwit_durable.core import (
    Dropped,
    Halt,
    Kind,
    Misuse,
    OperatorActed,
    Parked,
    Patched,
    Resolved,
    Status,
    UndoGaveUp,
    Value,
    Verb,
)
from qwit_durable.errors import StepFailed
from tests.core.asking import (
    CANCEL,
    SLEEP,
    Play,
    done,
    dropped,
    failed,
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
from tests.core.test_mismatch import asks
from tests.core.test_scopes import branch, call, catching, handed

A, B, C = step("a"), step("b"), step("c")
OWING = step("owing", undo="completed")
OTHER = step("other", undo="completed")
RETRY, SKIP = OperatorActed(verb=Verb.RETRY), OperatorActed(verb=Verb.SKIP, value=b"1")
ROLLBACK = OperatorActed(verb=Verb.ROLLBACK)


# -- parked runs ---------------------------------------------------------------------------------------------------


def parked(play: Play) -> Parked:
    assert isinstance(play.halt.reason, Parked)
    return play.halt.reason


@pytest.mark.parametrize("verb", [RETRY, SKIP])
def test_failure_that_has_had_a_saga_undone_is_not_taken_back(verb):
    """What the saga did is gone: to go on as if it stood would be wrong. A rollback undoes the rest."""
    play = Play(asks(OTHER, saga(branch(OWING, A))), parks=True)
    play.feed(done("0", OTHER), done("1.0.0", OWING), failed("1.0.1", A))
    play.feed(undone("1.0.0", "owing"))

    play.feed(verb)
    assert parked(play).refusal

    play.feed(ROLLBACK)
    assert play.begin == {"~0": "other"}


def test_failure_after_which_a_handler_ran_is_not_taken_back():
    def body():
        try:
            yield A
        except StepFailed:
            yield B
            raise

    play = Play(body, parks=True)
    play.feed(failed("0", A), done("1", B))

    play.feed(RETRY)

    assert parked(play).refusal


def test_failure_in_a_saga_that_owed_nothing_is_tried_again():
    def body():
        return (yield saga(branch(B, A)))

    play = Play(body, parks=True)
    play.feed(done("0.0.0", B, 1), failed("0.0.1", A))

    play.feed(RETRY)
    assert play.begin == {"0.0.1": "a"}

    play.feed(done("0.0.1", A, 2))
    assert play.value == [1, 2]


def test_retry_of_an_undo_in_a_parked_run_that_was_cancelled_does_not_bring_the_body_back():
    play = Play(asks(race(OWING, SLEEP), A), parks=True)
    play.feed(scheduled("0.0", OWING, queued=True), scheduled("0.1", SLEEP), fired("0.1"))
    play.feed(failed("1", A), done("0.0", OWING))
    parked(play)

    play.feed(CANCEL)
    play.feed(undo_failed("0.0", "owing"))
    assert isinstance(play.halt.reason, UndoGaveUp)

    play.feed(RETRY)
    assert play.begin == {"~0.0": "owing"}


def test_skip_with_a_value_that_does_not_fit_leaves_the_run_parked():
    """The next one may fit."""

    def number(data):
        return int(data)

    play = Play(asks(step("a", decode=number)), parks=True)
    play.feed(failed("0", A))

    play.feed(OperatorActed(verb=Verb.SKIP, value=b"null"))
    assert "no longer fits" in parked(play).refusal

    play.feed(SKIP)
    assert play.value == [1]


# -- undos that give up --------------------------------------------------------------------------------------------


def test_skip_takes_the_undos_of_one_scope_as_done():
    """The other scope's are those that the run stands still over next."""
    sagas = gather(saga(branch(OWING, error=ValueError("x"))), saga(branch(OTHER, error=ValueError("y"))))
    play = Play(catching(lambda: sagas))
    play.feed(done("0.0.0.0", OWING), done("0.1.0.0", OTHER))
    play.feed(undo_failed("0.1.0.0", "other"), undo_failed("0.0.0.0", "owing"))
    assert [debt.name for debt, _ in play.halt.reason.failed] == ["other"]

    play.feed(OperatorActed(verb=Verb.SKIP))

    assert [debt.name for debt, _ in play.halt.reason.failed] == ["owing"]


def test_undo_in_a_scope_hears_the_signal_it_waits_for():
    play = Play(catching(lambda: saga(branch(OWING, A)), signal("go")))
    play.feed(done("0.0.0", OWING), failed("0.0.1", A))
    waits = Resolved(position="~0.0.0", kind=Kind.UNDO, name="owing", outcome=Value(b"null", awaits="go"))

    play.feed(waits, sent("go"))
    assert play.begin == {"~0.0.0++": "owing"}

    play.feed(Resolved(position="~0.0.0++", kind=Kind.UNDO, name="owing", outcome=Value()), sent("go", 2))
    assert play.value == ["StepFailed", 2]


# -- runs whose code can't be asked --------------------------------------------------------------------------------


def test_misused_run_with_an_open_wait_can_be_cancelled():
    def wrong():
        yield "no command"

    play = Play(asks(gather(signal("go"), wrong())))
    assert isinstance(play.halt.reason, Misuse)

    play.feed(CANCEL)

    assert play.finish.status is Status.CANCELLED


@pytest.mark.parametrize("settles_first", [False, True])
def test_calls_of_a_map_under_changed_code_are_waited_for_and_undone(settles_first):
    each = mapped("each", 1, 2, undo="attempted")
    old = Play(asks(each, C))
    old.feed(handed("0", each, 2), call("0.0", Value(b"1")))
    new = Play(asks(A), undo_when=lambda _: "attempted")
    new.feed(*old.history)
    assert isinstance(new.decision, Halt)

    settled = resolved("0", each, Dropped(begun=True, left=1))
    new.feed(*([CANCEL, settled] if settles_first else [CANCEL]))
    new.feed(call("0.1", Value(b"2")), *([] if settles_first else [resolved("0", each, Dropped(begun=True))]))

    assert new.plan == ["0.1", "0.0"]


def test_scope_that_only_todays_code_knows_is_not_undone_apart():
    """What is owed is the run's, newest first."""
    old = Play(asks(gather(signal("go"), branch(OWING, OTHER))))
    old.feed(scheduled("0.0", signal("go")), done("0.1.0", OWING), scheduled("0.1.1", OTHER, queued=True))
    new = Play(
        asks(race(branch(), branch(OWING, A))), undo_when=lambda name: "completed" if name != "a" else None
    )
    new.feed(*old.history)
    assert isinstance(new.decision, Halt)

    new.feed(CANCEL, dropped("0.0", signal("go")), done("0.1.1", OTHER))

    assert new.plan == ["0.1.1", "0.1.0"]


# -- patches -------------------------------------------------------------------------------------------------------


def patched_branch(*commands, error=None):
    answers = []
    for command in commands:
        answers.append((yield command))
    if (yield Patched(name="change")):
        answers.append((yield C))
    if error is not None:
        raise error
    return answers


def test_patch_at_the_end_of_a_branch_keeps_the_old_path_of_a_run_beyond_it():
    old = Play(asks(gather(branch(A), SLEEP), B))
    old.feed(done("0.0.0", A), scheduled("0.1", SLEEP), fired("0.1"), scheduled("1", B, queued=True))

    new = Play(asks(gather(patched_branch(A), SLEEP), B))
    new.feed(*old.history, done("1", B))

    assert new.value == [[[None], None], None]


def test_patch_in_a_saga_keeps_the_old_path_of_a_run_that_is_undoing_it():
    error = ValueError("no")
    old = Play(catching(lambda: saga(branch(OWING, error=error)), B))
    old.feed(done("0.0.0", OWING))

    new = Play(catching(lambda: saga(patched_branch(OWING, error=error)), B))
    new.feed(*old.history, undone("0.0.0", "owing"), done("1", B))

    assert new.value == ["ValueError", None]


def test_patch_before_a_failure_keeps_the_old_path_of_a_run_that_has_dropped_the_others():
    error = ValueError("no")
    old = Play(catching(lambda: gather(branch(A, error=error), SLEEP), B))
    old.feed(scheduled("0.1", SLEEP), done("0.0.0", A), dropped("0.1", SLEEP))

    new = Play(catching(lambda: gather(patched_branch(A, error=error), SLEEP), B))
    new.feed(*old.history, done("1", B))

    assert new.value == ["ValueError", None]


def test_patch_in_a_branch_that_lost_keeps_the_old_path_of_a_run_that_has_dropped_it():
    def late():
        if (yield Patched(name="change")):
            yield C
        return (yield A)

    old = Play(asks(signal("go"), race(signal("go"), branch(A)), B))
    old.feed(sent("go"), sent("go"), dropped("1.1.0", A))

    new = Play(asks(signal("go"), race(signal("go"), late()), B))
    new.feed(*old.history, done("2", B))

    assert new.value == [None, [0, None], None]
