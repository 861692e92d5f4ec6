"""Why a run stands where it stands: read from its history, its tasks and its timers, without replay or user code.

Every state in which a run can stand still has a reason here, and a way out. `waits` finds what is waited for; this
module says what state that is, what led to it, and what a person can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from qwit_durable.client.access import Access
from qwit_durable.client.explaining.explanation import Explanation, Wait, WaitKind
from qwit_durable.client.explaining.facts import Facts
from qwit_durable.client.explaining.undoing import Undoing
from qwit_durable.client.explaining.waits import Waits
from qwit_durable.client.plain import command_line, decoded, shortened
from qwit_durable.core import CancelRequested, DeadlinePassed, OperatorActed, Status
from qwit_durable.errors import Failure
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.reasons import Reason, read_reason
from qwit_durable.stores.rows import LiveRow, OutcomeRow, RunView

__all__ = ["Explanation", "Wait", "WaitKind", "explain"]

#: Of a run that waits for very many sub-workflows, so many are explained; of the others the status is told.
_CHILDREN_AT_ONCE = 20
_VALUE_CHARS = 200


def explain(access: Access, view: RunView) -> Explanation:
    """Explain a run, and below it the sub-workflows that it waits for."""
    return _explain(access.reader, view)


def _explain(reader: Reader, view: RunView) -> Explanation:
    facts = Facts.read(reader, view)
    if facts.view.outcome is not None:
        return _ended(facts, facts.view.outcome)
    assert facts.view.live is not None
    return _open(reader, facts, facts.view.live)


def _ended(facts: Facts, outcome: OutcomeRow) -> Explanation:
    run, status = facts.view.run, outcome.status
    lines = [
        f"run {run.key} of workflow {run.workflow!r} is {status} since {facts.when.told(outcome.ended_at)}"
    ]
    match status:
        case Status.COMPLETED:
            lines.append(f"  its value is {shortened(decoded(outcome.value), _VALUE_CHARS)}")
        case Status.TERMINATED:
            lines.append(f"  {_because(outcome.failure)}; it was stopped where it stood, nothing was undone")
        case _:
            undone = ", ".join(outcome.undone) or "nothing"
            lines.append(f"  {_because(outcome.failure)}; undone: {undone}")
    return Explanation(
        id=run.key,
        workflow=run.workflow,
        status=status,
        since=outcome.ended_at,
        text="\n".join(lines),
        cause=outcome.failure,
        undone=outcome.undone,
    )


def _because(failure: Failure | None) -> str:
    return "no cause is recorded" if failure is None else f"because of {failure}"


def _open(reader: Reader, facts: Facts, live: LiveRow) -> Explanation:
    run, standing, when = facts.view.run, facts.standing, facts.when
    reason = read_reason(live.reason)
    lines = [
        f"run {run.key} of workflow {run.workflow!r} is {live.status}, unchanged {when.since(live.updated_at)}"
    ]
    if reason is not None:
        lines.extend(f"  {line}" for line in _reason_text(live.status, reason).splitlines())
    lines.extend(f"  {line}" for line in _ending_lines(facts, live))
    if facts.lane is not None:
        lines.extend(f"  {line}" for line in facts.lane.told_to(run, live, when))
    deadline_at = _deadline(facts, live)
    if deadline_at is not None:
        lines.append(f"  its deadline ends it at {when.told(deadline_at)}")
    if standing.restarted_at is not None:
        lines.append(
            f"  its body began anew {when.since(standing.restarted_at)}, for the {_time(facts.view.generation)} time"
        )
    waits = tuple(_waits(reader, facts, live, reason))
    undoing = next(iter(standing.plans), None)
    return Explanation(
        id=run.key,
        workflow=run.workflow,
        status=live.status,
        since=live.updated_at,
        text="\n".join(lines),
        waits=waits,
        ways_out=tuple(
            dict.fromkeys([*(way for wait in waits for way in wait.ways_out), *_general(facts, live, waits)])
        ),
        deadline_at=deadline_at,
        cause=undoing.cause.failure if undoing is not None else None,
        undone=undoing.done if undoing is not None else (),
        owed=(*undoing.failed, *undoing.owed) if undoing is not None else (),
        reason=reason,
    )


def _reason_text(status: Status, reason: Reason) -> str:
    return f"paused: {reason.text}; it was {reason.was}" if status is Status.PAUSED else reason.text


def _ending_lines(facts: Facts, live: LiveRow) -> Iterable[str]:
    """What has been decided about the run already: a cancel, a passed deadline, an unwinding."""
    standing, when = facts.standing, facts.when
    if standing.undoing is not None:
        yield f"it is unwound {_because(standing.undoing.cause.failure)}"
        yield from _progress(standing.undoing)
        return
    for scope, undoing in standing.scopes.items():
        yield f"what its part at {scope} did is being undone {_because(undoing.cause.failure)}"
        yield from _progress(undoing)
    if standing.ending is not None:
        event, at = standing.ending
        match event:
            case CancelRequested(reason=reason, compensate=compensate):
                undo = "" if compensate else ", without undoing anything"
                asked = f"it was asked to cancel at {when.told(at)}{_why(reason)}{undo}"
            case OperatorActed(reason=reason):
                asked = f"it was asked to roll back at {when.told(at)}{_why(reason)}"
            case DeadlinePassed():
                asked = f"its deadline passed at {when.told(at)}"
        still = {Status.STUCK: "once it is no longer stuck", Status.PAUSED: "once it is resumed"}
        yield f"{asked}; that takes effect {still.get(live.status, 'as soon as what is under way has settled')}"


def _why(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _progress(undoing: Undoing) -> Iterable[str]:
    done, owed = ", ".join(undoing.done) or "nothing", ", ".join(undoing.owed) or "nothing"
    yield f"undone so far: {done}; still owed: {owed}"
    if undoing.failed:
        yield f"gave up: {', '.join(undoing.failed)}"


def _time(number: int) -> str:
    """`2nd`."""
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _deadline(facts: Facts, live: LiveRow) -> datetime | None:
    """Deadlines do not apply while undoing, nor once the run is asked to end."""
    if live.status is Status.COMPENSATING or facts.standing.ending is not None:
        return None
    return facts.view.run.deadline_at if any(t.kind == "deadline" for t in facts.timers.values()) else None


# -- waits -----------------------------------------------------------------------------------------------------


def _waits(reader: Reader, facts: Facts, live: LiveRow, reason: Reason | None) -> Iterable[Wait]:
    chosen = _children_to_explain(facts)
    waits = Waits(facts, live, lambda view: _explain(reader, view) if view.run.id in chosen else None)
    match live.status:
        case Status.SCHEDULED:
            yield from waits.of_scheduled()
        case Status.PAUSED:
            yield _for_operator(facts, live, reason)
            yield from waits.of_standing()
        case Status.STUCK:
            yield _for_person(facts, live, reason)
            yield from waits.of_standing()
        case _:
            yield from waits.of_moving()


def _children_to_explain(facts: Facts) -> set[object]:
    """The sub-workflows that are waited for: those that need a person first, else in the order of their calls."""
    found = [child for position in facts.standing.open if (child := facts.child_at(position)) is not None]
    found.sort(key=lambda child: child.status is not Status.STUCK)
    return {child.run.id for child in found[:_CHILDREN_AT_ONCE]}


def _for_operator(facts: Facts, live: LiveRow, reason: Reason | None) -> Wait:
    return Wait(
        kind=WaitKind.OPERATOR,
        what=reason.kind if reason is not None else "operator",
        since=live.updated_at,
        text="waits for a person to resume it",
        ways_out=(f"let it go on: {command_line('resume', facts.view.run.key)}",),
    )


def _for_person(facts: Facts, live: LiveRow, reason: Reason | None) -> Wait:
    key = facts.view.run.key
    retry = command_line("retry", key)
    kind = reason.kind if reason is not None else "code"
    undo = f"undo what it did: {command_line('rollback', key)}"
    ways = {
        "undo": (
            f"mend what stops the undo, then: {retry}",
            f"undo it by hand, then take it as done: {command_line('skip', key)}",
        ),
        "failed": (
            f"try the step again: {retry}",
            f"take it as done, with a value: {command_line('skip', key, '--value')} <JSON value>",
            undo,
        ),
        "crash": (f"find what kills the workers, or breaks the turns off, then: {retry}", undo),
        "code": (
            "deploy code that matches the history: it goes on by itself",
            f"or afterwards: {retry}",
            undo,
        ),
    }
    return Wait(
        kind=WaitKind.PERSON,
        what=kind,
        since=live.updated_at,
        text="waits for a person",
        ways_out=ways.get(kind, (f"mend it, then: {retry}",)),
    )


def _general(facts: Facts, live: LiveRow, waits: Sequence[Wait]) -> Iterable[str]:
    """What may be done about a run in any state of that kind; nothing about one that is simply worked on."""
    key = facts.view.run.key
    is_ending = facts.standing.ending is not None or facts.standing.undoing is not None
    is_work = bool(waits) and all(wait.is_work for wait in waits)
    if live.status in {Status.SCHEDULED, Status.RUNNING} and not is_ending and not is_work:
        yield f"stop it and undo what it did: {command_line('cancel', key)}"
    if live.status in {Status.PAUSED, Status.STUCK} or is_ending:
        yield f"stop it where it stands, nothing more is undone: {command_line('terminate', key)}"
