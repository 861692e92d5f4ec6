"""A message per state change."""

from __future__ import annotations

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Cause, Status
from qwit_durable.observers.base import Observers
from qwit_durable.observers.messages import MessagePerChange, StateChange
from tests.observers.facts import DECLINED, T0, a_run, an_attempt, an_end, at


def test_every_hook_is_one_message_in_order() -> None:
    messages: list[StateChange] = []
    observer, run = MessagePerChange(messages.append, clock=ManualClock(at(4))), a_run(key="order-1")

    observer.run_started(run)
    observer.step_starting(an_attempt(run, "charge", "0", begin=1))
    observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2, failure=DECLINED, retry=3))
    observer.unwinding(run, Cause(failure=DECLINED), ["charge"])
    observer.undo_starting(an_attempt(run, "charge", "~0", begin=5))
    observer.undo_finished(an_attempt(run, "charge", "~0", begin=5, end=6))
    observer.run_finished(an_end(run, Status.COMPENSATED, end=7, failure=DECLINED))

    assert [(message.change, message.at) for message in messages] == [
        ("run_started", T0),
        ("step_starting", at(1)),
        ("step_finished", at(2)),
        ("unwinding", at(4)),
        ("undo_starting", at(5)),
        ("undo_finished", at(6)),
        ("run_finished", at(7)),
    ]
    assert {(message.run_id, message.workflow, message.namespace) for message in messages} == {
        ("order-1", "checkout", "shop")
    }
    assert messages[2] == StateChange(
        change="step_finished",
        run_id="order-1",
        workflow="checkout",
        namespace="shop",
        at=at(2),
        step="charge",
        position="0",
        attempt=1,
        failure=DECLINED,
        retry_at=at(3),
    )
    assert messages[3].undos == ("charge",)
    assert messages[6].status is Status.COMPENSATED


def test_a_message_can_not_be_changed() -> None:
    messages: list[StateChange] = []

    MessagePerChange(messages.append).run_started(a_run())

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        messages[0].run_id = "other"  # type: ignore[misc]


def test_a_callback_that_fails_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(change: StateChange) -> None:
        raise ConnectionError("no bus")

    messages: list[StateChange] = []
    observers = Observers([MessagePerChange(fail), MessagePerChange(messages.append)])

    observers.tell("run_started", a_run())

    assert len(messages) == 1
    assert "no bus" in caplog.text
