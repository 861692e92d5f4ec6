from __future__ import annotations

from datetime import timedelta

import attrs

from qwit_durable import GiveUp, Retry, Workflow, current, pending, step, workflow


@attrs.frozen
class Mail:
    """As it was sent; the token stands in its link."""

    to: str
    subject: str
    token: str


outbox: list[Mail] = []


@attrs.frozen
class Approval:
    by: str
    comment: str = ""


@step
def reserve_budget(what: str, cents: int) -> None: ...


@reserve_budget.undo
def free_budget(what: str, cents: int) -> None: ...


@step(deadline=timedelta(days=14), retry=Retry(max_attempts=2, first=timedelta(0)))
def approval(what: str, approvers: list[str]) -> Approval:
    """Asks the first of those who may approve; if she hands it back, the next attempt asks the next one."""
    p = pending()
    asked = approvers[(current().attempt - 1) % len(approvers)]
    outbox.append(Mail(asked, f"May we buy a {what}?", p.token))
    return p


@workflow
def purchase(what: str, cents: int) -> Workflow[str]:
    yield from reserve_budget(what, cents)
    approved = yield from approval(what, ["ann", "ben"])
    return f"{what}: approved by {approved.by}{f', {approved.comment!r}' if approved.comment else ''}"


def refusal(by: str) -> GiveUp:
    """Nobody else is asked."""
    return GiveUp(f"{by} refused it")
