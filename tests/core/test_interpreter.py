"""The interpreter, command by command: what a body asks for, what is recorded, and what is decided."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from qwit_durable.core import (
    CallStep,
    CancelRequested,
    Cause,
    Completed,
    DeadlinePassed,
    Debt,
    DebtKind,
    Finish,
    Interpreter,
    Misuse,
    Now,
    OperatorActed,
    Reopened,
    Settings,
    Sleep,
    Status,
    Undo,
    UndoGaveUp,
    UndoRun,
    Unwind,
    UnwindStarted,
    Verb,
    decide,
)
from qwit_durable.errors import ChildFailed, EncodingError, SignalTimeout, StepFailed
from tests.core.asking import (
    CANCEL,
    SLEEP,
    Play,
    attempt_failed,
    child,
    compensate,
    done,
    dropped,
    encode,
    failed,
    failure,
    fired,
    gather,
    record,
    resolved,
    scheduled,
    sent,
    signal,
    step,
    undo_failed,
    undone,
)

A, B, C, D = step("a"), step("b"), step("c"), step("d")
OWING = step("owing", undo="completed")
HALF = step("half", undo="attempted")
RETRY = OperatorActed(verb=Verb.RETRY)
SKIP = OperatorActed(verb=Verb.SKIP)


def just(*commands):
    """A body that yields commands one after the other and returns their values."""

    def body():
        values = []
        for command in commands:
            values.append((yield command))
        return values

    return body


def then_fails(*commands):
    """A body that yields commands one after the other and raises."""

    def body():
        for command in commands:  # noqa: UP028 - a tuple can't take answers
            yield command
        raise ValueError("body")

    return body


# -- each kind of command ------------------------------------------------------------------------------------------


def test_step_is_begun_and_its_value_comes_back():
    """A step without an outcome is to be begun; its recorded value is what the `yield` gives."""
    play = Play(just(step("charge", 5)))
    assert play.begin == {"0": "charge"}

    play.feed(done("0", step("charge", 5), "paid"))

    assert play.value == ["paid"]


def test_step_carries_what_failed_attempts_say():
    """An attempt that failed leaves the step to be begun, with the number and the times of its attempts."""
    play = Play(just(A))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    second, later = first + timedelta(seconds=1), first + timedelta(seconds=4)

    play.feed(attrs.evolve(attempt_failed("0", "a", 1), began_at=first, retry_at=second))
    play.feed(attrs.evolve(attempt_failed("0", "a", 2), began_at=second, retry_at=later))

    (pending,) = play.advance.begin
    assert (pending.attempts, pending.began_at, pending.retry_at) == (2, first, later)


def test_step_handed_over_is_waited_for():
    """Once a task was made for a step nobody begins it here."""
    play = Play(just(A))

    play.feed(scheduled("0", A, queued=True))

    assert play.begin == {}
    assert play.waiting == {"0": "a"}


def test_inline_step_that_owes_beforehand_is_still_to_be_begun():
    """The record of a debt before the first attempt does not hand the step over."""
    play = Play(just(HALF))

    play.feed(scheduled("0", HALF))

    (pending,) = play.advance.begin
    assert pending.scheduled
    assert not pending.queued


def test_failed_step_raises_at_its_yield():
    """A failure is raised as `StepFailed`, with the step, the recorded error and the number of attempts."""
    caught = []

    def body():
        try:
            yield A
        except StepFailed as error:
            caught.append(error)
        return "went on"

    play = Play(body)

    play.feed(failed("0", A, "no money", attempt=3, unknown=True))

    assert play.value == "went on"
    (error,) = caught
    assert (error.step, error.attempts, error.error.message) == ("a", 3, "no money")
    assert error.outcome_unknown
    assert error.error.is_a(ValueError)


def test_sub_workflow_is_begun_waited_for_and_answered():
    """A sub-workflow is handed over once, and its value comes back like a step's."""
    play = Play(just(child("ship", 1)))
    assert play.begin == {"0": "ship"}

    play.feed(scheduled("0", child("ship", 1)))
    assert play.waiting == {"0": "ship"}
    play.feed(done("0", child("ship", 1), "sent"))

    assert play.value == ["sent"]


def test_failed_sub_workflow_raises_child_failed():
    """A sub-workflow that ended without a value raises `ChildFailed` with its recorded failure."""

    def body():
        try:
            yield child("ship")
        except ChildFailed as error:
            return f"{error.workflow}: {error.error.message}"

    play = Play(body)

    play.feed(scheduled("0", child("ship")), failed("0", child("ship"), "lost"))

    assert play.value == "ship: lost"


def test_sleep_ends_when_its_timer_fires():
    """A timer is handed over, holds nothing, and answers None when it is due."""
    until = Sleep(until=datetime(2030, 1, 1, tzinfo=UTC))
    play = Play(just(Sleep(duration=timedelta(days=1)), until))
    assert play.begin == {"0": "sleep"}

    play.feed(scheduled("0", SLEEP))
    assert play.waiting == {"0": "sleep"}
    play.feed(fired("0"), scheduled("1", until), fired("1"))

    assert play.value == [None, None]


def test_compensation_is_registered_and_answers_nothing():
    """`compensate` asks for a record; once that is there the body goes on, and the call is owed."""
    play = Play(just(compensate("retract", 7)), is_child=True)
    assert play.begin == {"0": "compensate"}

    play.feed(done("0", compensate("retract", 7)))

    assert play.value == [None]
    assert play.finish.owed == (Debt(position="0", kind=DebtKind.CALL, name="retract", args=b"[7]"),)


@pytest.mark.parametrize("command", [record("uuid"), Now(decode=json.loads)])
def test_recorded_value_comes_back(command):
    """What was recorded once is what every replay gets."""
    play = Play(just(command))

    play.feed(done("0", command, "then"))

    assert play.value == ["then"]


def test_body_without_commands_ends_at_once():
    """A body that yields nothing is complete before any event."""
    play = Play(just())

    decision = play.decision

    assert decision == Finish(status=Status.COMPLETED, value=b"[]")


# -- positions -----------------------------------------------------------------------------------------------------


def test_positions_are_paths():
    """Commands number themselves in their generator: members by index, commands of a branch below it."""

    def branch():
        yield A
        yield gather(B, C)

    play = Play(just(A, gather(B, branch(), gather(C, D))))

    play.feed(done("0", A))
    assert play.begin == {"1.0": "b", "1.1.0": "a", "1.2.0": "c", "1.2.1": "d"}
    play.feed(done("1.1.0", A))

    assert play.begin == {"1.0": "b", "1.2.0": "c", "1.2.1": "d", "1.1.1.0": "b", "1.1.1.1": "c"}


def test_positions_do_not_depend_on_who_is_first():
    """Two branches that are answered in either order ask for the same commands at the same places."""

    def branch():
        yield A
        yield B

    one, other = Play(just(gather(branch(), branch()))), Play(just(gather(branch(), branch())))

    one.feed(done("0.0.0", A), done("0.1.0", A))
    other.feed(done("0.1.0", A), done("0.0.0", A))

    assert one.begin == other.begin == {"0.0.1": "b", "0.1.1": "b"}


def test_helper_generators_number_with_their_caller():
    """`yield from helper()` is the same generator: its commands take the next numbers."""

    def helper():
        yield B
        yield C

    def body():
        yield A
        yield from helper()
        yield D

    play = Play(body)

    play.feed(done("0", A), done("1", B), done("2", C))

    assert play.begin == {"3": "d"}


# -- gather --------------------------------------------------------------------------------------------------------


def test_gather_answers_in_the_order_of_its_members():
    """The values come as a tuple in the order of the members, whoever finished first."""
    play = Play(just(gather(A, B, C)))

    play.feed(done("0.2", C, 3), done("0.0", A, 1), done("0.1", B, 2))

    assert play.value == [[1, 2, 3]]


def test_gather_of_nothing_goes_on_at_once():
    """An empty gather answers an empty tuple without any event, nested ones too."""
    play = Play(just(gather(), gather(gather(), gather())))

    value = play.value

    assert value == [[], [[], []]]


def test_limit_begins_a_member_when_one_has_finished():
    """No more members than the limit are under way, and the next ones follow in order."""
    play = Play(just(gather(A, B, C, D, limit=2)))
    assert play.begin == {"0.0": "a", "0.1": "b"}

    play.feed(done("0.1", B, 2))
    assert play.begin == {"0.0": "a", "0.2": "c"}
    play.feed(done("0.2", C, 3))
    assert play.begin == {"0.0": "a", "0.3": "d"}
    play.feed(done("0.0", A, 1), done("0.3", D, 4))

    assert play.value == [[1, 2, 3, 4]]


def test_branches_run_by_themselves():
    """A generator in a gather goes on with its own answers while the others wait for theirs."""

    def branch(first, second):
        x = yield first
        y = yield second
        return x + y

    play = Play(just(gather(branch(A, B), C, branch(C, D))))

    play.feed(done("0.0.0", A, 1), done("0.0.1", B, 2))
    assert play.begin == {"0.1": "c", "0.2.0": "c"}
    play.feed(done("0.1", C, 3), done("0.2.0", C, 4), done("0.2.1", D, 5))

    assert play.value == [[3, 3, 9]]


def test_wake_up_is_counted_down_for_a_flat_gather():
    """Members that are commands wake their parent once: after as many successes as are missing."""
    play = Play(just(gather(A, B, C)))

    play.feed(*(scheduled(f"0.{i}", c, queued=True) for i, c in enumerate((A, B, C))), done("0.1", B))

    assert play.advance.awaiting == 2


def test_wake_up_is_immediate_where_the_limit_holds_members_back():
    """Under a limit one success begins the next member, so one success wakes."""
    play = Play(just(gather(A, B, C, limit=2)))

    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1", B, queued=True))

    assert play.advance.awaiting == 1


def test_wake_up_is_immediate_where_a_branch_can_go_on():
    """Where one success lets a branch go on, one success wakes."""

    def branch():
        yield B
        yield C

    play = Play(just(gather(A, branch())))

    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1.0", B, queued=True))

    assert play.advance.awaiting == 1


def test_failed_member_settles_the_rest_then_raises():
    """The others are settled first; only when all are, the failure is raised at the gather."""

    def body():
        try:
            yield gather(A, B, SLEEP)
        except StepFailed as error:
            return error.step

    play = Play(body)
    play.feed(scheduled("0.1", B, queued=True), scheduled("0.2", SLEEP))

    play.feed(failed("0.0", A))
    assert play.settle == {"0.1": "b", "0.2": "sleep"}
    assert play.advance.awaiting == 2
    play.feed(dropped("0.2", SLEEP))
    assert play.settle == {"0.1": "b"}
    play.feed(done("0.1", B))

    assert play.value == "a"


def test_member_that_settles_is_not_begun():
    """A member that nobody has begun when another one fails is dropped, not begun."""
    play = Play(just(gather(A, B, HALF)))
    play.feed(scheduled("0.2", HALF))

    play.feed(failed("0.0", A))

    assert play.begin == {}
    assert play.settle == {"0.1": "b", "0.2": "half"}


def test_first_failure_is_the_one_that_is_raised():
    """What fails while the rest settles changes nothing."""

    def body():
        try:
            yield gather(A, B)
        except StepFailed as error:
            return error.step

    play = Play(body)
    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1", B, queued=True))

    play.feed(failed("0.1", B), failed("0.0", A))

    assert play.value == "b"


def test_members_behind_the_limit_never_begin_after_a_failure():
    """A member whose turn had not come has no position in the history."""

    def body():
        try:
            yield gather(A, B, limit=1)
        except StepFailed:
            return "caught"

    play = Play(body)

    play.feed(failed("0.0", A))

    assert play.value == "caught"


def test_member_that_completes_while_settling_is_owed():
    """An attempt in progress is waited for, and what it did is undone with the rest."""
    play = Play(just(gather(A, OWING)))
    play.feed(scheduled("0.0", A, queued=True), scheduled("0.1", OWING, queued=True))

    play.feed(failed("0.0", A), done("0.1", OWING))

    assert play.plan == ["0.1"]


def test_branch_that_catches_a_failure_spares_the_gather():
    """A failure that a branch handles is its own affair."""

    def branch():
        try:
            yield A
        except StepFailed:
            return "spare"

    play = Play(just(gather(branch(), B)))

    play.feed(failed("0.0.0", A), done("0.1", B, "b"))

    assert play.value == [["spare", "b"]]


def test_failing_branch_closes_the_others():
    """The other generators are closed where they stand and ask for nothing more."""
    closed = []

    def failing():
        yield A
        raise ValueError("branch")

    def other():
        try:
            yield B
            yield C
        finally:
            closed.append("other")

    def body():
        try:
            yield gather(failing(), other())
        except ValueError as error:
            return str(error)

    play = Play(body)
    play.feed(scheduled("0.1.0", B, queued=True))

    play.feed(done("0.0.0", A))
    assert closed == ["other"]
    assert play.settle == {"0.1.0": "b"}
    play.feed(done("0.1.0", B))

    assert play.value == "branch"


def test_nothing_begins_below_a_gather_that_has_failed():
    """An answer that was ready inside a branch when its gather failed does not begin the next member there."""

    def failing():
        raise ValueError("branch")
        yield

    def hearing():
        yield gather(signal("early"), B, limit=1)

    def body():
        yield A
        try:
            yield gather(failing(), hearing())
        except ValueError:
            return "caught"

    play = Play(body)

    play.feed(sent("early"), done("0", A))

    assert play.value == "caught"


def test_inner_gather_settles_into_its_own_branch():
    """Where an inner gather fails and its branch goes on, the outer one never hears of it."""

    def branch():
        try:
            yield gather(A, B)
        except StepFailed:
            return (yield C)

    play = Play(just(gather(branch(), D)))
    play.feed(scheduled("0.0.0.1", B, queued=True))

    play.feed(failed("0.0.0.0", A))
    assert play.settle == {"0.0.0.1": "b"}
    play.feed(done("0.0.0.1", B))
    assert play.begin == {"0.1": "d", "0.0.1": "c"}
    play.feed(done("0.0.1", C, "c"), done("0.1", D, "d"))

    assert play.value == [["c", "d"]]


def test_outer_failure_takes_over_what_an_inner_one_was_settling():
    """A gather that fails around one that is settling waits for all of it, then raises its own failure."""

    def body():
        try:
            yield gather(gather(A, B), C)
        except StepFailed as error:
            return error.step

    play = Play(body)
    play.feed(scheduled("0.0.1", B, queued=True), scheduled("0.1", C, queued=True))
    play.feed(failed("0.0.0", A))

    play.feed(failed("0.1", C))
    assert play.settle == {"0.0.1": "b"}
    play.feed(done("0.0.1", B))

    assert play.value == "c"


def test_body_that_catches_a_failed_gather_goes_on_owing():
    """Catching the failure around a gather keeps what its members did as owed."""

    def body():
        with suppress(StepFailed):
            yield gather(OWING, A)
        yield B

    play = Play(body)

    play.feed(done("0.0", OWING), failed("0.1", A))
    assert play.begin == {"1": "b"}
    play.feed(failed("1", B))

    assert play.plan == ["0.0"]


# -- signals -------------------------------------------------------------------------------------------------------


def test_early_signals_are_kept_in_order():
    """Signals that came before anyone waited are consumed in the order in which they came."""
    play = Play(just(A, signal("s"), signal("s"), signal("s")))

    play.feed(sent("s", 1), sent("other", 0), sent("s", 2), done("0", A), sent("s", 3))

    assert play.value == [None, 1, 2, 3]


def test_waiting_for_a_signal_is_handed_over():
    """A wait is recorded, so that its timer and its reason exist."""
    play = Play(just(signal("s")))
    assert play.begin == {"0": "s"}

    play.feed(scheduled("0", signal("s")))
    assert play.waiting == {"0": "s"}
    play.feed(sent("s", "go"))

    assert play.value == ["go"]


def test_who_waits_longest_hears_first():
    """Of several waits for one name the oldest gets the next signal."""
    play = Play(just(gather(signal("s"), signal("s"))))

    play.feed(sent("s", 1), sent("s", 2))

    assert play.value == [[1, 2]]


def test_signal_timeout_is_raised_and_leaves_later_signals():
    """A wait whose timer fired raises; a signal that comes afterwards is for the next wait."""

    def body():
        try:
            yield signal("s")
        except SignalTimeout as error:
            name = error.name
        return name, (yield signal("s"))

    play = Play(body)

    play.feed(scheduled("0", signal("s")), fired("0"), sent("s", "late"))

    assert play.value == ["s", "late"]


def test_signal_before_its_timeout_wins():
    """Which of the two is recorded first decides; the other one changes nothing."""
    play = Play(just(signal("s"), A))

    play.feed(scheduled("0", signal("s")), sent("s", "in time"), fired("0"), done("1", A))

    assert play.value == ["in time", None]


def test_timer_of_an_answered_wait_is_needless():
    """A wait with a timeout that a signal answers leaves a timer behind: its position is told, once."""
    play = Play(just(signal("s"), signal("s")))

    play.feed(attrs.evolve(scheduled("0", signal("s")), due=datetime(2030, 1, 1, tzinfo=UTC)))
    play.feed(sent("s", 1), sent("s", 2))

    assert play.interpreter.needless_timers == ["0"]


def test_timer_of_a_wait_that_is_being_settled_changes_nothing():
    """A wait can time out between the failure of its gather and the moment at which it is dropped."""

    def body():
        try:
            yield gather(A, signal("s"))
        except StepFailed:
            return "caught"

    play = Play(body)
    play.feed(scheduled("0.1", signal("s")))
    play.feed(failed("0.0", A))
    assert play.settle == {"0.1": "s"}

    play.feed(fired("0.1"))

    assert play.value == "caught"


def test_signal_is_not_spent_on_a_wait_that_is_being_settled():
    """A signal that comes while a wait settles is kept for the next one."""

    def body():
        try:
            yield gather(A, signal("s"))
        except StepFailed:
            return (yield signal("s"))

    play = Play(body)
    play.feed(scheduled("0.1", signal("s")), failed("0.0", A))

    play.feed(sent("s", "kept"), dropped("0.1", signal("s")))

    assert play.value == "kept"


def test_signal_that_does_not_fit_raises_in_the_body_and_is_consumed():
    """A value that its type refuses is raised at the wait, early or late; the next wait gets the next signal."""

    def positive(data):
        value = json.loads(data)
        if value < 0:
            raise EncodingError("not positive")
        return value

    def body():
        got = []
        for _ in range(4):
            try:
                got.append((yield signal("s", decode=positive)))
            except EncodingError as error:
                got.append(str(error))
        return got

    play = Play(body)

    play.feed(sent("s", -1), sent("s", 2), sent("s", -3), sent("s", 4))

    assert play.value == ["not positive", 2, "not positive", 4]


# -- cancel and deadline -------------------------------------------------------------------------------------------

WAITS = {
    "step": A,
    "sub-workflow": child("c"),
    "sleep": SLEEP,
    "signal": signal("s"),
    "gather": gather(A, B),
    "record": record(),
    "compensate": compensate("x"),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_cancel_ends_every_kind_of_wait(wait):
    """Wherever the body waits it is closed there, what is open settles, and the run ends cancelled."""
    reached = []

    def body():
        yield wait
        reached.append("beyond")

    play = Play(body)

    play.feed(CancelRequested(reason="enough"))
    settling = play.advance.settle
    play.feed(*(dropped(p.position, p.command) for p in settling))

    assert play.finish.status is Status.CANCELLED
    assert play.finish.failure is not None
    assert play.finish.failure.message == "enough"
    assert reached == []


@pytest.mark.parametrize("stop", [CANCEL, DeadlinePassed()], ids=["cancel", "deadline"])
def test_ending_a_body_can_not_be_swallowed(stop):
    """`except BaseException`, `finally` and going on afterwards change nothing about a cancel or a deadline."""

    def body():
        while True:
            try:
                yield A
            except BaseException:  # noqa: BLE001 - what a careless body does
                pass
            finally:
                pass

    play = Play(body)
    play.feed(scheduled("0", A, queued=True))

    play.feed(stop)
    assert play.settle == {"0": "a"}
    play.feed(done("0", A))

    assert play.finish.status in {Status.CANCELLED, Status.FAILED}
    assert len(play.interpreter.refusals) == 1


def test_cancel_undoes_what_completed():
    """A cancelled run unwinds what it owes, what completed while settling included, and ends cancelled."""
    play = Play(just(OWING, OWING))
    play.feed(done("0", OWING), scheduled("1", OWING, queued=True))

    play.feed(CANCEL, done("1", OWING))
    assert play.plan == ["1", "0"]
    play.feed(undone("1", "owing"), undone("0", "owing"))

    assert play.finish.status is Status.CANCELLED
    assert play.finish.undone == ("owing", "owing")


def test_cancel_without_compensation_owes_nothing():
    """`compensate=False` ends the run cancelled, with nothing undone."""
    play = Play(just(OWING, A))

    play.feed(done("0", OWING), CancelRequested(compensate=False), dropped("1", A))

    assert play.finish.status is Status.CANCELLED
    assert play.finish.undone == ()


def test_first_cause_wins_while_settling():
    """A cancel after a failure, or a second cancel, changes neither the cause nor what follows."""
    play = Play(just(OWING, gather(A, B)))
    play.feed(done("0", OWING), scheduled("1.1", B, queued=True), CancelRequested(reason="first"))

    play.feed(CancelRequested(reason="second", compensate=False), DeadlinePassed())
    play.feed(failed("1.1", B), dropped("1.0", A))

    assert play.plan == ["0"]
    assert play.cause is not None
    assert play.cause.failure.message == "first"


def test_cancel_during_unwinding_is_ignored():
    """A cancel or a deadline that comes while undos run changes neither the cause nor the order."""
    play = Play(then_fails(OWING))
    play.feed(done("0", OWING))
    before = play.decision

    play.feed(CANCEL, DeadlinePassed())
    assert play.decision == before
    play.feed(undone("0", "owing"))

    assert play.finish.status is Status.COMPENSATED


def test_cancel_after_the_body_has_returned_changes_nothing():
    """A cancel that is recorded behind the body's last event comes too late."""
    play = Play(just(A))

    play.feed(done("0", A, 1), CANCEL)

    assert play.value == [1]


def test_deadline_fails_the_run():
    """A run whose deadline has passed ends as failed, with that as its cause, after undoing what it owes."""
    play = Play(just(OWING, A))

    play.feed(done("0", OWING), DeadlinePassed(), dropped("1", A))
    assert play.plan == ["0"]
    play.feed(undone("0", "owing"))

    assert play.finish.status is Status.COMPENSATED
    assert play.finish.failure is not None
    assert play.finish.failure.type == "DeadlineExceeded"


# -- what is owed --------------------------------------------------------------------------------------------------


def test_completed_undo_is_owed_once_the_success_is_recorded():
    """A step that failed owes nothing, one that completed owes its undo, with its recorded value."""

    def body():
        yield step("pay", 5, undo="completed")
        try:
            yield OWING
        finally:
            raise ValueError("body")

    play = Play(body)

    play.feed(done("0", step("pay", 5, undo="completed"), "p1"), failed("1", OWING))

    (pending,) = play.advance.begin
    assert pending.position == "~0"
    assert pending.command == Undo(name="pay", args=b"[5]", result=b'"p1"')


def test_attempted_undo_is_owed_from_the_moment_an_attempt_may_begin():
    """An `attempted` undo is owed when the step failed, too; it has no value to pass on then."""

    def body():
        try:
            yield HALF
        except StepFailed:
            yield A

    play = Play(body)

    play.feed(scheduled("0", HALF), failed("0", HALF), failed("1", A))

    (pending,) = play.advance.begin
    assert pending.command == Undo(name="half", args=b"[]", result=None)


@pytest.mark.parametrize(("begun", "plan"), [(True, ["0"]), (False, None)])
def test_dropped_step_owes_if_an_attempt_had_begun(begun, plan):
    """An `attempted` undo of a dropped step is owed if and only if an attempt may have begun."""
    play = Play(just(HALF))

    play.feed(scheduled("0", HALF, queued=True), CANCEL, dropped("0", HALF, begun=begun))

    if plan is None:
        assert play.finish.status is Status.CANCELLED
    else:
        assert play.plan == plan


def test_dropped_step_with_a_completed_undo_owes_nothing():
    """What did not complete is not undone by an undo that wants completion."""
    play = Play(just(OWING))

    play.feed(scheduled("0", OWING, queued=True), CANCEL, dropped("0", OWING, begun=True))

    assert play.finish.undone == ()


def test_sub_workflow_owes_only_if_it_says_so():
    """A completed sub-workflow is one entry of the plan if it has something to undo, and none otherwise."""
    play = Play(then_fails(child("plain"), child("owing", 1)))

    play.feed(done("0", child("plain")), done("1", child("owing", 1), owes=True))

    assert play.plan == ["1"]
    (pending,) = play.advance.begin
    assert pending.command == UndoRun(name="owing", position="1")


def test_plan_is_newest_first_with_gathers_by_completion():
    """Undos run in the reverse order of completion; members of a gather in the reverse order of theirs."""
    play = Play(then_fails(OWING, gather(OWING, HALF, OWING), compensate("x"), child("c")))

    play.feed(
        done("0", OWING),
        scheduled("1.1", HALF, queued=True),
        done("1.2", OWING),
        done("1.0", OWING),
        done("1.1", HALF),
        done("2", compensate("x")),
        done("3", child("c"), owes=True),
    )

    assert play.plan == ["3", "2", "1.1", "1.0", "1.2", "0"]


def test_failure_with_nothing_owed_fails_the_run():
    """A run that failed and owes nothing is `failed`, with the error that the body raised."""
    play = Play(just(A))

    play.feed(failed("0", A, "no"))

    assert play.finish.status is Status.FAILED
    assert play.finish.failure is not None
    assert play.finish.failure.type == "StepFailed"
    assert play.finish.failure.root.message == "no"


def test_catching_a_failure_goes_on():
    """A body may handle a failed step and complete; what it owes stays owed to nobody but a parent."""

    def body():
        yield OWING
        try:
            yield A
        except StepFailed:
            return (yield B)

    play = Play(body, is_child=True)

    play.feed(done("0", OWING), failed("1", A), done("2", B, "b"))

    assert play.value == "b"
    assert [debt.position for debt in play.finish.owed] == ["0"]


def test_body_value_that_can_not_be_encoded_fails_the_run():
    """What can't be stored is as if the last line had raised it: the run fails and unwinds."""

    def body():
        yield OWING
        return object()

    play = Play(body)

    play.feed(done("0", OWING))

    assert play.plan == ["0"]
    assert play.cause is not None
    assert play.cause.failure.type == "EncodingError"


def test_recorded_value_that_no_longer_decodes_halts():
    """A value that today's types refuse is for a person to mend: nothing is raised in the body, nothing undone."""

    def picky(data):
        raise EncodingError(f"{data.decode()} is no order")

    def body():
        try:
            yield step("a", decode=picky)
        except Exception:  # noqa: BLE001 - it must not see it
            return "swallowed"

    play = Play(body)

    play.feed(done("0", A, "old"))

    assert isinstance(play.halt.reason, Misuse)
    assert play.halt.reason.message == (
        'a recorded value no longer fits today\'s types: "old" is no order\n'
        "  way out: deploy types that take it, then retry"
    )


def test_arguments_that_no_longer_fit_halt():
    """A body that can't even be made is for a person to mend."""

    def body():
        raise TypeError("missing 'coupon'")

    play = Play(body)

    message = play.halt.reason.message

    assert message == (
        "the stored arguments of workflow 'body' don't fit today's code: TypeError: missing 'coupon'\n"
        "  way out: give new parameters and fields defaults, then retry"
    )


@pytest.mark.parametrize("error", [SystemExit(2), GeneratorExit()])
def test_body_that_exits_fails_the_run(error):
    """What a body raises is its failure, also where Python has a meaning of its own for it."""

    def body():
        yield A
        raise error

    play = Play(body)

    play.feed(done("0", A))

    assert play.finish.status is Status.FAILED
    assert play.finish.failure is not None
    assert play.finish.failure.type == type(error).__name__


def test_interrupt_of_the_thread_passes_through():
    """The core records failures of the body, not those of the thread it runs in."""

    def body():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        Play(body)


# -- unwinding -----------------------------------------------------------------------------------------------------


def unwinding(*, on_undo_failure="stop"):
    """A run that owes three undos, at 2, 1 and 0."""
    first, second, third = (step(name, undo="completed") for name in ("first", "second", "third"))
    play = Play(then_fails(first, second, third), on_undo_failure=on_undo_failure)
    play.feed(done("0", first), done("1", second), done("2", third))
    return play


def test_plan_is_written_before_anything_is_undone():
    """The first decision of an unwinding is the plan itself, with its cause."""
    program = Play(then_fails(OWING)).program

    decision = decide(program, [done("0", OWING, 1)])

    assert isinstance(decision, Unwind)
    assert decision.cause.failure.message == "body"
    assert decision.plan == (Debt(position="0", kind=DebtKind.UNDO, name="owing", args=b"[]", result=b"1"),)


def test_undos_run_one_at_a_time():
    """The next undo is begun when the one before it is done; the cause travels with each."""
    play = unwinding()
    assert play.begin == {"~2": "third"}
    assert play.cause is not None

    play.feed(undone("2", "third"))
    assert play.begin == {"~1": "second"}
    play.feed(undone("1", "second"), undone("0", "first"))

    assert play.finish.status is Status.COMPENSATED
    assert play.finish.undone == ("third", "second", "first")
    assert play.finish.failure is not None
    assert play.finish.failure.message == "body"


def test_undo_is_attempted_again_like_a_step():
    """Failed attempts of an undo count on; the next undo starts from none."""
    play = unwinding()

    play.feed(attempt_failed("~2", "third", 1), attempt_failed("~2", "third", 2))
    assert play.advance.begin[0].attempts == 2
    play.feed(undone("2", "third"))

    assert play.advance.begin[0].attempts == 0


def test_undo_handed_over_is_waited_for():
    """A queued undo is a task; nobody begins it here."""
    play = unwinding()

    play.feed(scheduled("~2", Undo(name="third", args=b"[]"), queued=True))

    assert play.waiting == {"~2": "third"}
    assert play.begin == {}


def test_sub_workflow_is_reopened_once():
    """The undo of a sub-workflow is handed over by its record alone, and done when the child says so."""
    play = Play(then_fails(child("c")))
    play.feed(done("0", child("c"), owes=True))
    assert play.begin == {"~0": "c"}

    play.feed(scheduled("~0", UndoRun(name="c", position="0")))
    assert play.waiting == {"~0": "c"}
    play.feed(undone("0", "c"))

    assert play.finish.undone == ("c",)


def test_compensation_calls_the_step_itself():
    """What was handed to `compensate` runs as that step."""
    play = Play(then_fails(compensate("retract", 7)))

    play.feed(done("0", compensate("retract", 7)))

    (pending,) = play.advance.begin
    assert pending.command == CallStep(name="retract", args=b"[7]")


def test_undo_that_gave_up_stops_the_unwinding():
    """With `stop` the older undos wait: both errors, what is done and what is owed are told."""
    play = unwinding()

    play.feed(undone("2", "third"), undo_failed("1", "second"))

    reason = play.halt.reason
    assert isinstance(reason, UndoGaveUp)
    assert reason.cause.failure.message == "body"
    assert [(debt.name, error.message) for debt, error in reason.failed] == [("second", "stays")]
    assert [debt.name for debt in reason.done] == ["third"]
    assert [debt.name for debt in reason.owed] == ["first"]


def test_retry_tries_the_failed_undo_again():
    """After `retry` the undo starts from its first attempt, and the rest follows."""
    play = unwinding()
    play.feed(attempt_failed("~2", "third"), undo_failed("2", "third"))

    play.feed(RETRY)
    assert play.begin == {"~2": "third"}
    assert play.advance.begin[0].attempts == 0
    play.feed(undone("2", "third"), undone("1", "second"), undone("0", "first"))

    assert play.finish.undone == ("third", "second", "first")


def test_skip_takes_the_failed_undo_as_done_by_hand():
    """After `skip` the older undos follow, and the skipped one is not told as undone."""
    play = unwinding()
    play.feed(undo_failed("2", "third"))

    play.feed(SKIP)
    assert play.begin == {"~1": "second"}
    play.feed(undone("1", "second"), undone("0", "first"))

    assert play.finish.status is Status.COMPENSATED
    assert play.finish.undone == ("second", "first")


def test_continue_goes_on_with_the_older_undos():
    """With `continue` a failed undo is set aside, and the run halts at the end."""
    play = unwinding(on_undo_failure="continue")

    play.feed(undo_failed("2", "third"), undone("1", "second"))
    assert play.begin == {"~0": "first"}
    play.feed(undo_failed("0", "first"))

    reason = play.halt.reason
    assert isinstance(reason, UndoGaveUp)
    assert [debt.name for debt, _ in reason.failed] == ["third", "first"]
    assert [debt.name for debt in reason.done] == ["second"]
    assert reason.owed == ()


def test_retry_under_continue_tries_all_failed_ones_in_order():
    """All undos that were set aside are owed again, newest first."""
    play = unwinding(on_undo_failure="continue")
    play.feed(undo_failed("2", "third"), undone("1", "second"), undo_failed("0", "first"))

    play.feed(RETRY)
    assert play.begin == {"~2": "third"}
    play.feed(undone("2", "third"), undone("0", "first"))

    assert play.finish.undone == ("second", "third", "first")


def test_skip_under_continue_ends_the_run():
    """Skipping takes all that were set aside as done by hand."""
    play = unwinding(on_undo_failure="continue")
    play.feed(undo_failed("2", "third"), undone("1", "second"), undo_failed("0", "first"))

    play.feed(SKIP)

    assert play.finish.undone == ("second",)


@pytest.mark.parametrize("verb", [RETRY, SKIP])
def test_verbs_without_a_failed_undo_change_nothing(verb):
    """An operator's verb that comes twice, or while an undo is under way, skips nothing."""
    play = unwinding()
    before = play.decision

    play.feed(verb)

    assert play.decision == before


@pytest.mark.parametrize("verb", [RETRY, SKIP])
def test_verbs_wait_until_the_unwinding_halts(verb):
    """While older undos run, one that was set aside is neither retried nor skipped, and attempts count on."""
    play = unwinding(on_undo_failure="continue")
    play.feed(undo_failed("2", "third"), attempt_failed("~1", "second"))
    before = play.decision

    play.feed(verb)
    assert play.decision == before
    play.feed(undone("1", "second"), undone("0", "first"))

    assert [debt.name for debt, _ in play.halt.reason.failed] == ["third"]


def test_late_facts_change_nothing_during_unwinding():
    """A result for a command of the body, or of an undo that is done, is not one of the current undo's."""
    play = unwinding()
    play.feed(undone("2", "third"))
    before = play.decision

    play.feed(undone("2", "third"), done("1", A), sent("s"), fired("0"))

    assert play.decision == before


def test_plan_overrides_a_body_that_changed():
    """Once the plan is recorded the body is not asked any more, not even about a history it no longer matches."""
    old = unwinding()
    changed = Play(just(step("another"), step("body")))

    changed.feed(*old.history)
    assert changed.begin == {"~2": "third"}
    changed.feed(undone("2", "third"), undone("1", "second"), undone("0", "first"))

    assert changed.finish.status is Status.COMPENSATED


def test_body_is_closed_when_unwinding_begins():
    """The recorded plan closes a body that today's code still lets run."""
    closed = []

    def body():
        try:
            yield A
        finally:
            closed.append("closed")

    play = Play(body)

    play.feed(UnwindStarted(cause=Cause(failure=failure()), plan=()))

    assert closed == ["closed"]


# -- a child that is asked to undo ---------------------------------------------------------------------------------


def test_child_keeps_its_own_plan():
    """A completed child ends with its plan recorded; a root does not keep one."""
    root, kid = Play(just(OWING)), Play(just(OWING), is_child=True)

    root.feed(done("0", OWING, 1))
    kid.feed(done("0", OWING, 1))

    assert root.finish.owed == ()
    assert kid.finish.owed == (Debt(position="0", kind=DebtKind.UNDO, name="owing", args=b"[]", result=b"1"),)


def reopened(*, cancelled=False):
    """A completed child of two steps that its parent asks to undo what it did."""
    play = Play(just(OWING, OWING), is_child=True)
    play.feed(done("0", OWING), done("1", OWING))
    play.feed(Completed(value=b"[1]", owed=play.finish.owed))
    assert play.finish.value == b"[1]"
    assert not play.interpreter.was_reopened
    play.feed(Reopened(cause=Cause(failure=failure("parent"), cancelled=cancelled)))
    return play


@pytest.mark.parametrize("cancelled", [True, False])
def test_reopened_child_undoes_what_it_did(cancelled):
    """A completed child that is reopened follows its own plan, with its parent's cause, and ends as that says."""
    play = reopened(cancelled=cancelled)
    assert play.interpreter.was_reopened
    assert play.begin == {"~1": "owing"}

    play.feed(undone("1", "owing"), undone("0", "owing"))

    assert play.finish.status is (Status.CANCELLED if cancelled else Status.COMPENSATED)
    assert play.finish.failure is not None
    assert play.finish.failure.message == "parent"


def test_reopened_child_does_not_ask_its_body():
    """A body that has changed since the child completed stands in nobody's way."""
    history = reopened().history
    changed = Play(just(step("another")), is_child=True)

    changed.feed(*history)

    assert changed.begin == {"~1": "owing"}


def test_child_that_is_reopened_twice_goes_on_where_it_stood():
    """A child that was terminated half-way through its undos does not undo twice what is undone."""
    play = reopened()
    play.feed(undone("1", "owing"), OperatorActed(verb=Verb.TERMINATE))

    play.feed(Reopened(cause=Cause(failure=failure("parent"))))

    assert play.begin == {"~0": "owing"}


def test_child_that_is_reopened_in_the_middle_of_an_undo_starts_it_anew():
    """What stood for that undo is gone with the termination: it is neither waited for nor put off."""
    play = reopened()
    play.feed(attrs.evolve(attempt_failed("~1", "owing"), retry_at=datetime(2030, 1, 1, tzinfo=UTC)))
    play.feed(
        scheduled("~1", Undo(name="owing", args=b"[]"), queued=True), OperatorActed(verb=Verb.TERMINATE)
    )

    play.feed(Reopened(cause=Cause(failure=failure("parent"))))

    (pending,) = play.advance.begin
    assert (pending.attempts, pending.retry_at, pending.queued) == (0, None, False)


def test_child_that_is_reopened_over_a_failed_undo_tries_it_again():
    """Asking again is a retry: an undo that had given up starts anew."""
    play = reopened()
    play.feed(undo_failed("1", "owing"), OperatorActed(verb=Verb.TERMINATE))

    play.feed(Reopened(cause=Cause(failure=failure("parent"))))

    assert play.begin == {"~1": "owing"}


# -- closing -------------------------------------------------------------------------------------------------------


def test_head_counts_events():
    """The interpreter knows how many events it was fed."""
    interpreter = Interpreter(Play(just(A, B)).program)

    interpreter.feed([done("0", A)])
    interpreter.feed([])
    interpreter.feed([attempt_failed("1", "b"), done("1", B)])

    assert interpreter.head == 3


def test_facts_about_unknown_positions_are_harmless_where_they_may_be_late():
    """A timer or a failed attempt of a command that has its outcome changes nothing."""
    play = Play(just(A, B))
    play.feed(done("0", A))
    before = play.decision

    play.feed(fired("0"), attempt_failed("0", "a"), fired("7"))

    assert play.decision == before


def test_settings_travel_with_the_command():
    """What a step's attempts need to know is on the pending command, and is no part of its identity."""
    settings = Settings(timeout=timedelta(seconds=5))
    play = Play(just(attrs.evolve(A, settings=settings)))

    (pending,) = play.advance.begin

    assert isinstance(pending.command, CallStep)
    assert pending.command.settings == settings
    assert pending.command == A


def test_dropped_command_that_is_still_wanted_is_a_mismatch():
    """A history that gave a command up where today's body waits for it no longer matches."""
    play = Play(just(A))

    play.feed(dropped("0", A))

    assert play.halt.reason.found_text == "step 'a', which the body still waits for"


def test_value_recorded_for_a_wait_answers_it_once():
    """A wait that was answered otherwise than by its signal does not take the next one."""
    play = Play(just(signal("s"), signal("s")))

    play.feed(resolved("0", signal("s"), done("0", A, "by hand").outcome), sent("s", "heard"))

    assert play.value == ["by hand", "heard"]


def test_encoded_value_is_what_the_body_returned():
    """The value of a run is the body's, encoded."""
    play = Play(just(A))

    play.feed(done("0", A, {"b": 1, "a": 2}))

    assert play.finish.value == encode([{"a": 2, "b": 1}])
