from __future__ import annotations

from datetime import timedelta

import pytest

from examples.approval.workflow import (
    Decision,
    Expense,
    board,
    expense,
    pay,  # noqa: F401 - the names that this module's tests know
    remind,  # noqa: F401
    submit,  # noqa: F401
)
from qwit_durable import Status, WorkflowFailed
from qwit_durable.testing.environment import Environment
from tests.examples.programs import run_module


@pytest.fixture
def environment():
    board.clear()
    with Environment() as made:
        yield made


def test_one_that_is_approved_is_paid_on_pay_day(environment):
    handle = environment.start(expense, Expense("lunch", 1_250))
    began = environment.clock.now()

    handle.signal("decision", Decision(approved=True, by="Ann"))
    environment.settle()

    assert handle.result() == "12.50 paid"
    assert board == ["lunch: submitted, 12.50", "lunch: paid, 12.50"]
    assert environment.clock.now() - began == timedelta(days=5)


def test_one_that_is_forgotten_is_withdrawn_after_a_reminder(environment):
    handle = environment.start(expense, Expense("lunch", 1_250))

    environment.settle()

    with pytest.raises(WorkflowFailed) as failed:
        handle.result()
    assert failed.value.cause.type == "SignalTimeout"
    assert board == ["lunch: submitted, 12.50", "lunch: reminded", "lunch: withdrawn"]


def test_a_decision_after_the_reminder_counts(environment):
    handle = environment.start(expense, Expense("lunch", 1_250))
    environment.settle(until=environment.clock.now() + timedelta(days=3))

    handle.signal("decision", Decision(approved=False, by="Ben"))
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert board[-2:] == ["lunch: reminded", "lunch: withdrawn"]


def test_the_program_shows_three_ways_to_end(tmp_path):
    done = run_module("examples.approval", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        "approved: completed, 123.45 paid",
        "refused: compensated, NotApproved: Ben refused it, undone: submit",
        "forgotten: compensated, SignalTimeout: no signal 'decision' came in time, undone: submit",
    ]
