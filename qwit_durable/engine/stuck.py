"""Why a run is stuck, in words: what happened, the evidence, the likely cause, the ways out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwit_durable.core import (
    Debt,
    Halt,
    Mismatch,
    Misuse,
    Parked,
    Resolved,
    Scheduled,
    Status,
    UndoGaveUp,
)
from qwit_durable.core.identity import identity
from qwit_durable.stores.reasons import Reason, ReasonKind
from qwit_durable.stores.rows import RunRow

__all__ = ["reason_for"]


def reason_for(run: RunRow, halt: Halt, status: Status) -> Reason:
    """The reason that is stored with the run."""
    match halt.reason:
        case Mismatch() as mismatch:
            text, details = _mismatch(run, mismatch)
            return Reason(kind="code", text=text, was=status, details=details)
        case Misuse(message=message):
            text = f"run {run.key} of workflow {run.workflow!r} can't go on: {message}"
            return Reason(kind="code", text=text, was=status)
        case Parked() as parked:
            return _parked(run, parked, status)
        case UndoGaveUp() as gave_up:
            return _undo_gave_up(run, gave_up, status)


def _mismatch(run: RunRow, mismatch: Mismatch) -> tuple[str, dict[str, Any]]:
    recorded = mismatch.recorded
    assert isinstance(recorded, Scheduled | Resolved)
    was = f"{recorded.kind} {recorded.name!r} {_shown(recorded.args)}".rstrip()
    if mismatch.found is None:
        found, where = mismatch.found_text, ""
    else:
        kind, name, args = identity(mismatch.found)
        found = f"{kind} {name!r} {_shown(args)}".rstrip()
        where = f"   at {mismatch.found.site}" if mismatch.found.site else ""
    text = (
        f"run {run.key} of workflow {run.workflow!r} no longer matches its history at position {mismatch.position}.\n"
        f"  recorded: {was}\n"
        f"  found:    {found}{where}\n"
        f"The body changed, or it reads something that differs between replays (clock, random, environment).\n"
        f"Nothing was run or recorded. Ways out: deploy a body that matches (the run goes on by itself), or\n"
        f"`qwit retry {run.key}` afterwards, or `qwit terminate {run.key}`."
    )
    return text, {"position": mismatch.position, "recorded": was, "found": found, "where": where.strip()}


def _parked(run: RunRow, parked: Parked, status: Status) -> Reason:
    where = f" at {parked.position}" if parked.position is not None else ""
    again = (
        f"`qwit retry {run.key}` tries the step again, `qwit skip {run.key} VALUE` takes it as done with that value"
        if parked.position is not None
        else "deploy a body that does not fail here, and the run goes on by itself"
    )
    text = (
        f"run {run.key} of workflow {run.workflow!r} has failed{where}: {parked.cause.failure}.\n"
        f"Nothing is undone: the workflow parks on failure. Ways out: {again};\n"
        f"`qwit rollback {run.key}` undoes what the run did."
    )
    kind: ReasonKind = "failed" if parked.position is not None else "code"
    details = {"position": parked.position, "error": str(parked.cause.failure)}
    return Reason(kind=kind, text=text, was=status, details=details)


def _listed(debts: Sequence[Debt]) -> str:
    return ", ".join(f"{debt.name} at {debt.position}" for debt in debts) or "nothing"


def _shown(args: bytes) -> str:
    text = args.decode("utf-8", "replace")
    return "" if text == "null" else text if len(text) <= 120 else f"{text[:119]}…"  # noqa: PLR2004 - a line's width


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
