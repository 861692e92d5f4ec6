"""What a body does about its own code and history: restart, patches, parking; and what can be saved of a broken one."""

from __future__ import annotations

import pytest

from qwit_durable.core import (
    CancelRequested,
    Completed,
    Halt,
    Interpreter,
    Kind,
    Mismatch,
    OperatorActed,
    Parked,
    Patched,
    Program,
    Reopened,
    Resolved,
    Restart,
    Restarted,
    StartOver,
    Status,
    Unwind,
    UnwindStarted,
    Value,
    Verb,
    origin_of,
)
from qwit_durable.core.events import Cause
from qwit_durable.errors import StepFailed
from tests.core.asking import (
    Play,
    child,
    done,
    dropped,
    encode,
    failed,
    failure,
    gather,
    race,
    scheduled,
    sent,
    signal,
    step,
    undone,
)

A, B, C = step("a"), step("b"), step("c")
OWING = step("owing", undo="completed")
RETRY = OperatorActed(verb=Verb.RETRY)
SKIP = OperatorActed(verb=Verb.SKIP, value=b'"by hand"')
ROLLBACK = OperatorActed(verb=Verb.ROLLBACK, reason="enough")


# -- restart -------------------------------------------------------------------------------------------------------


def again():
    yield OWING
    yield Restart(args=b"[2]")


def test_restart_takes_along_what_is_owed_and_what_is_unread():
    play = Play(again)

    play.feed(sent("later", 1), sent("later", 2), done("0", OWING))

    assert isinstance(play.decision, StartOver)
    assert play.decision.args == b"[2]"
    assert [debt.position for debt in play.decision.owed] == ["0@0"]
    assert play.decision.signals == (sent("later", 1), sent("later", 2))


def test_next_generation_owes_the_older_debts_after_its_own():
    play = Play(again)
    play.feed(done("0", OWING))
    owed = play.decision.owed
    arguments = []

    def body(args):
        arguments.append(args)
        yield OWING
        return (yield signal("later"))

    program = Program(name="body", body=body, encode=encode)
    interpreter = Interpreter(program, generation=1)
    interpreter.feed([Restarted(args=b"[2]", owed=owed, signals=(sent("other"),)), done("0", OWING)])
    decision = interpreter.feed([CancelRequested()])
    decision = interpreter.feed([dropped("1", signal("later"))])

    assert arguments == [b"[2]"]
    assert isinstance(decision, Unwind)
    assert [debt.position for debt in decision.plan] == ["0", "0@0"]
    assert origin_of("0@0", 1) == (0, "0")
    assert origin_of("0", 1) == (1, "0")


def test_restart_waits_for_the_losers_of_a_race():
    def body():
        yield race(A, B)
        yield Restart(args=b"[]")

    play = Play(body)

    play.feed(scheduled("0.0", A, queued=True), done("0.1", B))
    assert play.settle == {"0.0": "a"}

    play.feed(done("0.0", A))
    assert isinstance(play.decision, StartOver)


def test_cancel_is_not_lost_in_a_restart():
    play = Play(again)

    play.feed(done("0", OWING), CancelRequested())

    assert play.plan == ["0"]


def test_restart_in_a_branch_is_refused():
    def branch():
        yield Restart(args=b"[]")

    def body():
        yield gather(branch())

    assert "restarts the run from within a branch" in Play(body).halt.reason.message


def test_a_reopened_child_reports_where_it_was_asked():
    play = Play(_owing, is_child=True)
    play.feed(done("0", OWING))
    play.feed(Completed(value=b"1", owed=play.finish.owed))

    play.feed(Reopened(cause=Cause(failure=failure()), at="~0@3"))

    assert play.interpreter.reopened_at == "~0@3"
    assert play.begin == {"~0": "owing"}


def _owing():
    yield OWING
    return 1


# -- patched -------------------------------------------------------------------------------------------------------


def patched():
    answers = [(yield A)]
    if (yield Patched(name="change")):
        answers.append((yield B))
    else:
        answers.append((yield C))
    return answers


def recorded(position: str) -> Resolved:
    return Resolved(position=position, kind=Kind.PATCH, name="change", outcome=Value(b"true"))


def test_new_run_takes_the_new_path_and_records_it():
    play = Play(patched)
    play.feed(done("0", A))
    assert play.begin == {"1!change": "change"}

    play.feed(recorded("1!change"))
    assert play.begin == {"1": "b"}


@pytest.mark.parametrize("event", [done("1", C), scheduled("1", C, queued=True)])
def test_run_that_has_gone_past_keeps_its_old_path(event):
    play = Play(patched)

    play.feed(done("0", A), event)

    assert not isinstance(play.decision, Halt)
    assert play.decision == Play(patched).feed(done("0", A), event)


def test_answer_holds_for_the_whole_run():
    def body():
        answers = []
        for _ in range(2):
            answers.append((yield Patched(name="change")))
            answers.append((yield A))
        return answers

    play = Play(body)

    play.feed(done("0", A), done("1", A))

    assert play.value == [False, None, False, None]


def test_call_of_a_patch_can_be_deleted_when_no_old_run_is_left():
    def body():
        yield A
        return (yield B)

    play = Play(body)

    play.feed(done("0", A), recorded("1!change"), done("1", B, 2))

    assert play.value == 2


# -- parking -------------------------------------------------------------------------------------------------------


def parking():
    yield OWING
    return (yield A)


def test_failure_of_a_parked_workflow_undoes_nothing():
    play = Play(parking, parks=True)

    play.feed(done("0", OWING), failed("1", A))

    assert isinstance(play.halt.reason, Parked)
    assert play.halt.reason.position == "1"


def test_retry_runs_the_failed_step_again():
    play = Play(parking, parks=True)
    play.feed(done("0", OWING), scheduled("1", A, queued=True), failed("1", A, attempt=3))

    play.feed(RETRY)
    assert play.begin == {"1": "a"}

    play.feed(done("1", A, "now"))
    assert play.value == "now"


def test_parked_again_and_skipped():
    play = Play(parking, parks=True)
    play.feed(done("0", OWING), failed("1", A), RETRY, failed("1", A))
    assert isinstance(play.halt.reason, Parked)

    play.feed(SKIP)

    assert play.value == "by hand"


def test_rollback_of_a_parked_run_keeps_the_first_cause():
    play = Play(parking, parks=True)
    play.feed(done("0", OWING), failed("1", A, "first"))

    play.feed(ROLLBACK)
    assert play.plan == ["0"]

    play.feed(undone("0", "owing"))
    assert play.finish.status is Status.COMPENSATED
    assert play.finish.failure is not None
    assert play.finish.failure.root.message == "first"


def test_failure_that_the_body_catches_does_not_park():
    def body():
        try:
            yield A
        except StepFailed:
            return (yield B)

    play = Play(body, parks=True)

    play.feed(failed("0", A), done("1", B, 7))

    assert play.value == 7


def test_retry_takes_back_the_members_that_were_dropped_with_it():
    def body():
        return (yield gather(A, B))

    play = Play(body, parks=True)
    play.feed(failed("0.0", A), dropped("0.1", B))
    assert isinstance(play.halt.reason, Parked)

    play.feed(RETRY)

    assert play.begin == {"0.0": "a", "0.1": "b"}


def test_failed_sub_workflow_stays_parked_on_retry():
    def body():
        yield child("sub")

    play = Play(body, parks=True)
    play.feed(scheduled("0", child("sub")), failed("0", child("sub")))

    play.feed(RETRY)

    assert isinstance(play.halt.reason, Parked)


# -- salvage -------------------------------------------------------------------------------------------------------


def changed():
    yield OWING
    yield C


def test_cancel_of_a_run_whose_code_changed_undoes_everything_that_is_recorded():
    """Also what was recorded beyond the place of the mismatch, and what is still open there."""
    play = Play(changed, undo_when=lambda _: "completed")
    late = step("late", undo="completed")
    play.feed(done("0", OWING), done("1", A), done("2", late), scheduled("3", B, queued=True))
    assert isinstance(play.halt.reason, Mismatch)

    play.feed(CancelRequested())
    assert play.settle == {"3": "b"}

    play.feed(dropped("3", B))
    assert play.plan == ["2", "1", "0"]


def test_rollback_of_a_run_whose_code_changed_ends_compensated():
    play = Play(changed)
    play.feed(done("0", OWING), done("1", A))

    play.feed(ROLLBACK, ROLLBACK)
    play.feed(undone("0", "owing"))

    assert play.finish.status is Status.COMPENSATED
    assert play.finish.failure is not None
    assert play.finish.failure.type == "RolledBack"


def test_rollback_of_a_running_run_settles_and_undoes():
    play = Play(parking)
    play.feed(done("0", OWING), scheduled("1", A, queued=True))

    play.feed(ROLLBACK)
    assert play.settle == {"1": "a"}

    play.feed(dropped("1", A))
    assert play.plan == ["0"]
    assert isinstance(play.history[-1], UnwindStarted)
