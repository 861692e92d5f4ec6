"""The eight rules of failing, each shown on the whole engine in virtual time."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from qwit_durable.core import Retry, Status
from qwit_durable.errors import (
    ChildFailed,
    DeadlineExceeded,
    Failure,
    OperationRefused,
    RunStuck,
    StepFailed,
    WorkflowCancelled,
    WorkflowFailed,
)
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment

ONCE = Retry(max_attempts=1)


@attrs.define
class Log:
    """What was done and undone, and which undos are broken."""

    lines: list[str] = attrs.field(factory=list)
    broken: set[str] = attrs.field(factory=set)
    errors: list[Failure] = attrs.field(factory=list)

    @property
    def undone(self) -> list[str]:
        return [line.removeprefix("un") for line in self.lines if line.startswith("un")]


log = Log()


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """Nothing is done yet."""
    global log
    log = Log()


@step
def do(what: str) -> str:
    log.lines.append(what)
    return what.upper()


@do.undo(retry=Retry(max_attempts=2, first=timedelta(seconds=1)))
def undo(what: str, result: str, error: Failure) -> None:
    assert result == what.upper()
    if what in log.broken:
        message = f"can't undo {what}"
        raise OSError(message)
    log.errors.append(error)
    log.lines.append(f"un{what}")


@step(retry=ONCE)
def fail(message: str = "broken") -> None:
    raise ValueError(message)


@step(retry=ONCE)
def try_it(what: str, *, fails: bool) -> str:
    log.lines.append(what)
    if fails:
        message = f"half of {what}"
        raise ValueError(message)
    return what


@try_it.undo(when="attempted")
def clean(what: str, result: str | None) -> None:
    log.lines.append(f"un{what}:{result}")


@step
def retract(what: str) -> None:
    log.lines.append(f"un{what}")


@workflow
def plain() -> Workflow[None]:
    yield from do("a")
    yield from do("b")
    yield from fail()


@workflow
def grand_child(name: str) -> Workflow[str]:
    yield from do(f"{name}1")
    yield from do(f"{name}2")
    return name


@workflow
def child(name: str, *, fails: bool = False) -> Workflow[str]:
    yield from do(f"{name}-before")
    yield from grand_child(f"{name}-g")
    yield from do(f"{name}-after")
    if fails:
        yield from fail(f"{name} failed")
    return name


@workflow
def parent(*, child_fails: bool = False) -> Workflow[str]:
    yield from do("p1")
    try:
        yield from child("c", fails=child_fails)
    except ChildFailed as failed:
        log.lines.append(f"caught {failed.error.root.message}")
        return "recovered"
    yield from do("p2")
    yield from fail()
    return "never"


def run(body: object, *args: object, **kwargs: object) -> tuple[Environment, object]:
    """Start a run and let it come to rest."""
    environment = Environment()
    handle = environment.start(body, *args, **kwargs)  # type: ignore[call-overload]
    environment.settle()
    return environment, handle


def test_uncaught_failure_unwinds_newest_first_and_keeps_the_cause() -> None:
    """Rule 1: newest first, one at a time, and the first cause is what the caller sees."""
    _, handle = run(plain)

    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)

    assert log.undone == ["b", "a"]
    assert handle.status() is Status.COMPENSATED
    assert caught.value.undone == ("do", "do")
    assert caught.value.cause is not None
    assert caught.value.cause.is_a(ValueError)
    assert all(error.is_a(StepFailed) and error.is_a(ValueError) for error in log.errors)


@workflow
def gathering() -> Workflow[None]:
    yield from do("first")
    yield from gather(slow_branch(), do("quick"))
    yield from fail()


def slow_branch() -> Workflow[None]:
    yield from sleep(timedelta(seconds=5))
    yield from do("slow")


def test_members_of_a_gather_are_undone_in_reverse_order_of_completion() -> None:
    """Rule 1: not in the order in which they stand in the code."""
    run(gathering)

    assert log.lines == ["first", "quick", "slow", "unslow", "unquick", "unfirst"]


def test_completed_sub_workflow_is_undone_in_its_place_with_its_own_values() -> None:
    """Rule 2: what it did, and what its own children did, between what came after and what came before."""
    environment, handle = run(parent)

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["p2", "c-after", "c-g2", "c-g1", "c-before", "p1"]
    assert {view.status for view in environment.store.children(handle._run_id)} == {Status.COMPENSATED}


def test_failed_sub_workflow_unwinds_itself_first_then_raises_in_the_parent() -> None:
    """Rule 2: the parent may catch it, and owes nothing for it."""
    _, handle = run(parent, child_fails=True)

    assert handle.result(0) == "recovered"
    assert log.lines == ["p1", "c-before", "c-g1", "c-g2", "c-after", *_undone_child(), "caught c failed"]


def _undone_child() -> list[str]:
    return ["unc-after", "unc-g2", "unc-g1", "unc-before"]


def test_failing_undo_is_stuck_with_both_errors_and_goes_on_after_retry() -> None:
    """Rule 4: nothing older is undone before a person has decided; retry tries the failed one again."""
    log.broken = {"a"}
    environment, handle = run(owing)
    assert handle.status() is Status.STUCK
    assert log.undone == ["b"]
    with pytest.raises(RunStuck) as caught:
        handle.result(0)
    assert "can't undo a" in caught.value.reason
    assert "broken" in caught.value.reason
    assert "still owed:    do" in caught.value.reason

    log.broken = set()
    handle.retry("the disk is back")
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["b", "a", "z"]


@workflow
def owing() -> Workflow[None]:
    yield from do("z")
    yield from do("a")
    yield from do("b")
    yield from fail()


def test_failing_undo_goes_on_after_skip() -> None:
    """Rule 4: skip takes it as done by hand."""
    log.broken = {"a"}
    environment, handle = run(owing)

    handle.skip()
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["b", "z"]


@workflow(on_undo_failure="continue")
def stubborn() -> Workflow[None]:
    yield from do("z")
    yield from do("a")
    yield from do("b")
    yield from fail()


def test_undo_failure_may_let_the_older_ones_go_on_and_ends_stuck() -> None:
    """Rule 4: on_undo_failure="continue"."""
    log.broken = {"a"}
    environment, handle = run(stubborn)
    assert handle.status() is Status.STUCK
    assert log.undone == ["b", "z"]

    log.broken = set()
    handle.retry()
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["b", "z", "a"]


def test_stuck_undo_of_a_sub_workflow_is_told_and_retried_at_its_parent() -> None:
    """Rule 4, nested: the parent's handle says which run is stuck, and its retry reaches it."""
    log.broken = {"c-g1"}
    environment, handle = run(parent)
    with pytest.raises(RunStuck) as caught:
        handle.result(2)
    assert "grand_child" in str(caught.value)

    log.broken = set()
    handle.retry()
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["p2", "c-after", "c-g2", "c-g1", "c-before", "p1"]


def test_first_cause_wins_over_a_cancel_while_unwinding() -> None:
    """Rule 5: neither the cause nor the order changes."""
    log.broken = {"a"}
    environment, handle = run(owing)
    handle.cancel("too late")
    handle.cancel("again")

    log.broken = set()
    handle.retry()
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["b", "a", "z"]
    with pytest.raises(WorkflowFailed, match="broken"):
        handle.result(0)


@workflow
def stubborn_body() -> Workflow[str]:
    yield from do("a")
    while True:
        try:
            yield from wait_signal("never")
        except BaseException:
            log.lines.append("swallowed")
            raise


def test_cancel_closes_the_body_and_undoes_what_it_did() -> None:
    """Rule 6: the body is closed, not thrown into: what it catches makes no difference."""
    environment, handle = run(stubborn_body)

    handle.cancel("enough")
    environment.settle()

    assert handle.status() is Status.CANCELLED
    assert log.undone == ["a"]
    with pytest.raises(WorkflowCancelled, match="enough"):
        handle.result(0)
    handle.cancel("again")


def test_cancel_without_compensation_leaves_everything_standing() -> None:
    """compensate=False: stopped at the next yield, nothing undone."""
    environment, handle = run(stubborn_body)

    handle.cancel("enough", compensate=False)
    environment.settle()

    assert handle.status() is Status.CANCELLED
    assert log.undone == []


@workflow
def cancelling_itself() -> Workflow[None]:
    yield from do("a")
    yield from cancel_own_run()
    yield from do("never")


@step
def cancel_own_run() -> None:
    """A step during which its run is cancelled."""
    environment_of_test[0].get(current().run_id).cancel("while running")
    assert current().cancelled


environment_of_test: list[Environment] = []


@cancel_own_run.undo
def undo_cancel() -> None:
    log.lines.append("un-cancelled-step")


def test_attempt_in_progress_at_a_cancel_is_asked_to_stop_and_undone_if_it_completes() -> None:
    """Rule 6: never killed; what completes is undone with the rest."""
    environment = Environment()
    environment_of_test[:] = [environment]
    handle = environment.start(cancelling_itself)

    environment.settle()

    assert handle.status() is Status.CANCELLED
    assert log.lines == ["a", "un-cancelled-step", "una"]


@workflow
def settling() -> Workflow[None]:
    yield from do("a")
    yield from gather(
        fail(),
        sleep(timedelta(days=100)),
        wait_signal("never"),
        child("c"),
        long_branch(),
    )


def long_branch() -> Workflow[None]:
    yield from do("branch")
    yield from sleep(timedelta(days=200))
    yield from do("never")


def test_failed_gather_settles_the_rest_before_anything_is_undone() -> None:
    """Rule 8: timers and waits end at once, sub-workflows are cancelled and unwound, what completed is owed."""
    environment = Environment()
    began = environment.clock.now()
    handle = environment.start(settling)

    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert environment.clock.now() - began < timedelta(days=1)
    assert "never" not in log.lines
    done = [line for line in log.lines if not line.startswith("un")]
    assert sorted(log.undone) == sorted(done)
    assert log.undone[-1] == "a"


@workflow
def attempting(*, fails: bool) -> Workflow[None]:
    yield from try_it("t", fails=fails)
    yield from fail()


@pytest.mark.parametrize(("fails", "expected"), [(True, "unt:None"), (False, "unt:t")])
def test_attempted_undo_is_owed_whether_or_not_the_step_completed(fails: bool, expected: str) -> None:
    """when="attempted": a half-done step is cleaned too, without a result."""
    run(attempting, fails=fails)

    assert log.lines == ["t", expected]


@workflow
def compensating() -> Workflow[None]:
    yield from do("a")
    yield from compensate(retract("x"))
    yield from do("b")
    yield from fail()


def test_compensation_is_owed_from_where_it_stands() -> None:
    """compensate(call) takes its place in the order."""
    run(compensating)

    assert log.undone == ["b", "x", "a"]


@workflow(deadline=timedelta(hours=1))
def late() -> Workflow[None]:
    yield from do("a")
    yield from sleep(timedelta(days=1))


def test_deadline_of_a_run_unwinds_it() -> None:
    """A deadline is a failure like any other."""
    environment = Environment()
    handle = environment.start(late)

    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["a"]
    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)
    assert caught.value.cause is not None
    assert caught.value.cause.is_a(DeadlineExceeded)


def test_plan_survives_a_deploy_that_changes_the_body() -> None:
    """Rule 3: the plan is followed as it was written, whatever the new body says."""
    log.broken = {"a"}
    environment, handle = run(owing)
    assert isinstance(environment.store, MemoryStore)
    original = owing.fn

    def changed() -> Workflow[None]:
        yield from do("something else")

    log.broken = set()
    object.__setattr__(owing, "fn", changed)
    try:
        other = Environment(environment.store, clock=environment.clock)
        other.get(handle.id).retry()
        other.settle()
    finally:
        object.__setattr__(owing, "fn", original)

    assert handle.status() is Status.COMPENSATED
    assert log.undone == ["b", "a", "z"]


def test_verbs_are_refused_by_status() -> None:
    """An ended run takes no signal; the message says what is possible."""
    _, handle = run(plain)

    with pytest.raises(OperationRefused, match="compensated"):
        handle.signal("x")
    with pytest.raises(OperationRefused, match="possible now"):
        handle.retry()


def test_terminate_stops_the_tree_where_it_stands() -> None:
    """Nothing is undone, and children end with their parent."""
    environment, handle = run(waiting_parent)

    handle.terminate("stop")
    environment.settle()

    assert handle.status() is Status.TERMINATED
    assert [view.status for view in environment.store.children(handle._run_id)] == [Status.TERMINATED]
    assert log.undone == []


@workflow
def waiting_parent() -> Workflow[None]:
    yield from do("a")
    yield from waiting_child()


@workflow
def waiting_child() -> Workflow[None]:
    yield from do("b")
    yield from wait_signal("never")


def test_paused_run_stands_still_until_it_is_resumed() -> None:
    """Pause keeps timers and signals; resume takes them in."""
    environment, handle = run(waiting_for_go)
    handle.pause("inspection")
    handle.signal("go", 7)
    environment.settle()
    assert handle.status() is Status.PAUSED

    handle.resume()
    environment.settle()

    assert handle.result(0) == 7


@workflow
def waiting_for_go() -> Workflow[int]:
    return (yield from wait_signal("go", int))


def test_timer_of_an_answered_wait_is_gone() -> None:
    """A signal that comes in time takes the timeout's timer with it."""
    environment = Environment()
    handle = environment.start(waiting_twice)
    environment.answer_bells()
    handle.signal("go", 1)
    environment.answer_bells()

    timers = environment.store.timers(handle._run_id)

    assert [timer.position for timer in timers] == ["1"]


@workflow
def waiting_twice() -> Workflow[int]:
    first = yield from wait_signal("go", int, timeout=timedelta(hours=1))
    second = yield from wait_signal("go", int, timeout=timedelta(hours=1))
    return first + second
