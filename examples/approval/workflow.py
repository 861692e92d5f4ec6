from __future__ import annotations

from datetime import timedelta

import attrs

from qwit_durable import SignalTimeout, Workflow, sleep, step, wait_signal, workflow

#: What the steps do to the world: here, lines of a notice board.
board: list[str] = []


@attrs.frozen
class Expense:
    id: str
    cents: int
    patience: timedelta = timedelta(days=2)
    pays_after: timedelta = timedelta(days=5)


@attrs.frozen
class Decision:
    approved: bool
    by: str


class NotApproved(Exception):
    """Nobody approved it in time, or somebody refused it."""


@step
def submit(expense_id: str, cents: int) -> None:
    board.append(f"{expense_id}: submitted, {cents / 100:.2f}")


@submit.undo
def withdraw(expense_id: str) -> None:
    board.append(f"{expense_id}: withdrawn")


@step
def remind(expense_id: str) -> None:
    board.append(f"{expense_id}: reminded")


@step
def pay(expense_id: str, cents: int) -> str:
    board.append(f"{expense_id}: paid, {cents / 100:.2f}")
    return f"{cents / 100:.2f} paid"


@workflow
def expense(claim: Expense) -> Workflow[str]:
    yield from submit(claim.id, claim.cents)
    try:
        decision = yield from wait_signal("decision", type=Decision, timeout=claim.patience)
    except SignalTimeout:
        yield from remind(claim.id)
        decision = yield from wait_signal("decision", type=Decision, timeout=claim.patience)
    if not decision.approved:
        raise NotApproved(f"{decision.by} refused it")
    yield from sleep(claim.pays_after)
    return (yield from pay(claim.id, claim.cents))
