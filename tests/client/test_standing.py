"""How far a run has come, read from facts alone: maps, scopes undone while the body goes on, new beginnings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from qwit_durable.client.explaining.standing import Standing, told
from qwit_durable.core import (
    AttemptFailed,
    Cause,
    Debt,
    DebtKind,
    Dropped,
    Event,
    Kind,
    OperatorActed,
    Outcome,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    UnwindStarted,
    Value,
    Verb,
)
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import Recorded

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
BROKEN = Failure(type="Broken", message="it broke")
MAP = Scheduled(
    position="0", kind=Kind.MAP, name="resize", args=b'{"count":3,"digest":""}', queued=True, upto=2
)
DEBTS = tuple(Debt(position=f"1.{n}", kind=DebtKind.UNDO, name=f"book {n}") for n in (1, 0))
SCOPE = UnwindStarted(cause=Cause(failure=BROKEN), plan=DEBTS, scope="1")


def after(*events: Event) -> Standing:
    return Standing(
        Recorded(number=n, at=AT + timedelta(seconds=n), event=event)
        for n, event in enumerate(events, start=1)
    )


def call(index: int, outcome: Outcome) -> Resolved:
    return Resolved(position=f"0.{index}", kind=Kind.MAP, name="resize", outcome=outcome)


def undone(index: int, outcome: Outcome) -> Resolved:
    return Resolved(position=f"~1.{index}", kind=Kind.UNDO, name=f"book {index}", outcome=outcome)


def test_a_map_counts_its_calls() -> None:
    failed = AttemptFailed(position="0.1", name="resize", attempt=1, failure=BROKEN)

    standing = after(MAP, call(0, Value()), failed, attrs.evolve(MAP, upto=3))

    (command,) = standing.open.values()
    assert command.calls is not None
    assert (command.calls.total, command.calls.handed, command.calls.done, command.calls.failed) == (
        3,
        3,
        1,
        0,
    )
    assert command.last_error == BROKEN
    assert command.told == "the calls of step 'resize'"


def test_a_map_is_over_with_its_last_call() -> None:
    standing = after(MAP, *(call(index, Value()) for index in range(3)))

    assert standing.open == {}
    assert standing.last is not None
    assert (standing.last.position, standing.last.kind) == ("0", Kind.MAP)


def test_a_map_that_failed_is_over_when_its_last_attempt_has_ended() -> None:
    settled = Resolved(position="0", kind=Kind.MAP, name="resize", outcome=Dropped(begun=True, left=1))

    before, at_last = (
        after(MAP, call(0, BROKEN), settled),
        after(MAP, call(0, BROKEN), settled, call(1, Value())),
    )

    (command,) = before.open.values()
    assert command.calls is not None
    assert (command.calls.failed, command.calls.left) == (1, 1)
    assert at_last.open == {}


def test_a_scope_is_undone_while_the_run_is_not() -> None:
    standing = after(SCOPE, undone(1, Value()))

    (plan,) = standing.plans
    assert standing.undoing is None
    assert (plan.done, plan.owed) == (("book 1",), ("book 0",))
    assert plan.cause.failure == BROKEN


def test_a_scope_that_is_undone_is_over() -> None:
    standing = after(SCOPE, undone(1, Value()), undone(0, Value()))

    assert standing.plans == ()


@pytest.mark.parametrize(("verb", "owed"), [(Verb.RETRY, ("book 1", "book 0")), (Verb.SKIP, ("book 0",))])
def test_an_undo_of_a_scope_that_gave_up_waits_for_a_person(verb: Verb, owed: tuple[str, ...]) -> None:
    stuck, decided = (
        after(SCOPE, undone(1, BROKEN)),
        after(SCOPE, undone(1, BROKEN), OperatorActed(verb=verb)),
    )

    assert stuck.plans[0].failed == ("book 1",)
    assert (decided.plans[0].failed, decided.plans[0].owed) == ((), owed)


def test_a_rollback_ends_the_body_and_a_second_one_does_not() -> None:
    asked = OperatorActed(verb=Verb.ROLLBACK, reason="enough")

    standing = after(asked, OperatorActed(verb=Verb.ROLLBACK))

    assert standing.ending == (asked, AT + timedelta(seconds=1))


def test_a_rollback_of_a_run_that_is_unwound_tries_again_what_gave_up() -> None:
    plan = UnwindStarted(cause=Cause(failure=BROKEN), plan=DEBTS)

    standing = after(plan, undone(1, BROKEN), OperatorActed(verb=Verb.ROLLBACK))

    assert standing.ending is None
    assert standing.undoing is not None
    assert (standing.undoing.failed, standing.undoing.owed) == ((), ("book 1", "book 0"))


def test_a_restart_tells_when_the_body_began_anew() -> None:
    standing = after(Restarted(args=b"[]", signals=(SignalReceived(name="go"),)))

    assert standing.restarted_at == AT + timedelta(seconds=1)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SLEEP])
def test_every_command_can_be_told(kind: Kind) -> None:
    assert told(kind, "x").endswith("'x'")
