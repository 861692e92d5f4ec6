"""Why a run is stuck, in words: what happened, the evidence, the likely cause, the ways out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qwit_durable.core import (
    Debt,
    Event,
    Halt,
    Mismatch,
    Misuse,
    Parked,
    Status,
    UndoGaveUp,
)
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.engine.turning.mismatch import report_of
from qwit_durable.stores.reasons import Reason, ReasonKind
from qwit_durable.stores.rows import RunRow
from qwit_durable.stores.writes import Release

__all__ = ["halt", "reason_for"]


def halt(services: Services, hold: Hold, decision: Halt) -> Pieces[None]:
    """Leave a run to a person, or to a fixed deploy."""

    def history() -> list[Event]:
        return [recorded.event for recorded in services.store.history(hold.run.id)]

    yield from hold.commit(reason=reason_for(hold.run, decision, hold.status, history), release=Release())


def reason_for(run: RunRow, halt: Halt, status: Status, history: Callable[[], Sequence[Event]]) -> Reason:
    """The reason that is stored with the run; its history is only asked for where it is told."""
    match halt.reason:
        case Mismatch() as mismatch:
            text, details = _mismatch(run, mismatch, history())
            return Reason(kind="code", text=text, was=status, details=details)
        case Misuse(message=message):
            text = f"run {run.key} of workflow {run.workflow!r} can't go on: {message}"
            return Reason(kind="code", text=text, was=status)
        case Parked() as parked:
            return _parked(run, parked, status)
        case UndoGaveUp() as gave_up:
            return _undo_gave_up(run, gave_up, status)


def _mismatch(run: RunRow, mismatch: Mismatch, facts: Sequence[Event]) -> tuple[str, dict[str, Any]]:
    report = report_of(mismatch, facts)
    lines = (
        f"run {run.key} of workflow {run.workflow!r} no longer matches its history at position {mismatch.position}.",
        *report.lines(),
        "The body changed, or it reads something that differs between replays (clock, random, environment).",
        "Nothing was run or recorded. Ways out: deploy a body that matches (`patched` keeps the old path), and the run",
        f"goes on by itself, or after `qwit retry {run.key}`; `qwit rollback {run.key}` undoes what it did;",
        f"`qwit terminate {run.key}` leaves all as it is.",
    )
    return "\n".join(lines), report.details()


def _parked(run: RunRow, parked: Parked, status: Status) -> Reason:
    where = f" at {parked.position}" if parked.position is not None else ""
    again = (
        f"`qwit retry {run.key}` tries the step again, `qwit skip {run.key} --value JSON` takes it as done with a value"
        if parked.position is not None
        else "deploy a body that does not fail here, and the run goes on by itself"
    )
    text = (
        f"run {run.key} of workflow {run.workflow!r} has failed{where}: {parked.cause.failure}.\n"
        f"Nothing is undone: the workflow parks on failure. Ways out: {again};\n"
        f"`qwit rollback {run.key}` undoes what the run did."
    )
    if parked.refusal:
        text += f"\nThe last attempt to go on had no effect: {parked.refusal}."
    kind: ReasonKind = "failed" if parked.position is not None else "code"
    details = {"position": parked.position, "error": str(parked.cause.failure)}
    return Reason(kind=kind, text=text, was=status, details=details)


def _listed(debts: Sequence[Debt]) -> str:
    return ", ".join(f"{debt.name} at {debt.position}" for debt in debts) or "nothing"


def _undo_gave_up(run: RunRow, gave_up: UndoGaveUp, status: Status) -> Reason:
    debt, failure = gave_up.failed[0]
    done = _listed(gave_up.done)
    owed = _listed((*(d for d, _ in gave_up.failed), *gave_up.owed))
    failed = "; ".join(f"{d.name} at {d.position}: {f}" for d, f in gave_up.failed)
    text = (
        f"run {run.key} of workflow {run.workflow!r} is being unwound because of {gave_up.cause.failure},\n"
        f"and an undo has used up its attempts: {failed}.\n"
        f"  undone so far: {done}\n"
        f"  still owed:    {owed}\n"
        f"Ways out: mend what stops it and `qwit retry {run.key}`; or undo it by hand and `qwit skip {run.key}`."
    )
    details = {
        "position": debt.position,
        "undo": debt.name,
        "error": str(failure),
        "cause": str(gave_up.cause.failure),
        "done": [d.name for d in gave_up.done],
        "owed": [d.name for d in gave_up.owed],
    }
    return Reason(kind="undo", text=text, was=status, details=details)
