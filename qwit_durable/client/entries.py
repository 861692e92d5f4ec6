"""Events as the entries of a history: the same few fields for every fact, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, assert_never

import attrs

from qwit_durable.client.plain import decoded, shortened
from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Completed,
    DeadlinePassed,
    Dropped,
    Kind,
    OperatorActed,
    Reopened,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
    Value,
)
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import OutcomeRow, Recorded, RunView

__all__ = ["Entry", "end_of", "entries_of", "entry_of", "start_of"]

_VALUE_CHARS = 80


@attrs.frozen(kw_only=True)
class Entry:
    """One fact about a run.

    Attributes:
        number: The number of the event; 0 for the start. The end has none, and comes after the last.
        position: The place of the command in the body; an undo's begins with `~`. None for facts about the run.
        kind: What the fact is about: `run`, `step`, `undo`, `workflow`, `sleep`, `signal`, `compensate`, `record`,
            `map`, `publish`, `patch`, or `scope` (what a `saga`, or the lost member of a `race`, owes).
        event: What happened: `started`, `scheduled`, `completed`, `failed`, `dropped`, `attempt failed`, `received`,
            `fired`, `published`, `patched`, `cancel requested`, `deadline passed`, `unwinding`, `returned`, `reopened`,
            `restarted`, an operator's verb, or the status in which the run ended. By a guard: `allowed` (`args` are
            what the step gets), `vetoed`, `refused`. Of an undo: `waiting` for the signal that `value` names.
        name: Of the step, signal or workflow; the key of what was published.
        attempt: The number of the attempt, where there was one.
        args: The arguments, or a `Large` where they are too large to show.
        value: The value, in the same way.
        error: Why it failed.
        until: When the timer, the timeout or the next attempt is due.

    >>> entry = approval.start(order).history()[-1]
    >>> entry.kind, entry.name, entry.event
    ('signal', 'approved', 'scheduled')
    """

    number: int | None
    at: datetime
    kind: str
    event: str
    position: str | None = None
    name: str | None = None
    attempt: int | None = None
    args: Any = None
    value: Any = None
    error: Failure | None = None
    until: datetime | None = None

    @property
    def text(self) -> str:
        """The fact in words, without its number, time and position."""
        name = self.name if self.kind != "sleep" else ""
        words = [self.kind if self.kind != "run" else "", name or "", self._event_text]
        if self.kind in {"publish", "patch"}:
            words = [self.event, name or ""]
        if self.args not in (None, {}):
            words.append(shortened(self.args, _VALUE_CHARS))
        if self.value is not None:
            words.append(f"→ {shortened(self.value, _VALUE_CHARS)}")
        if self.error is not None:
            words.append(f"({self.error})")
        if self.until is not None:
            due = "next at" if self.event == "attempt failed" else "until"
            words.append(f"{due} {self.until:%Y-%m-%d %H:%M:%S}")
        return " ".join(word for word in words if word)

    @property
    def _event_text(self) -> str:
        if self.event == "failed" and self.attempt == 0:
            return "was not let begin"  # by a guard
        if not self.attempt or (self.event == "completed" and self.attempt == 1):
            return self.event
        if self.event == "attempt failed":
            return f"attempt {self.attempt} failed"
        return f"{self.event} at attempt {self.attempt}"

    @property
    def depth(self) -> int:
        """How deep in branches the command stands."""
        return 0 if self.position is None else self.position.partition("!")[0].count(".")


def entries_of(view: RunView, history: Iterable[Recorded]) -> Iterator[Entry]:
    """The entries of a run: its start, its events, and its end if it has ended."""
    kinds: dict[str, str] = {}
    yield start_of(view)
    for recorded in history:
        yield entry_of(recorded, kinds)
    if view.outcome is not None:
        yield end_of(view, view.outcome)


def start_of(view: RunView) -> Entry:
    """The entry before the first event."""
    run = view.run
    return Entry(
        number=0, at=run.created_at, kind="run", event="started", name=run.workflow, args=decoded(run.args)
    )


def end_of(view: RunView, outcome: OutcomeRow) -> Entry:
    """The entry after the last event of a run that has ended."""
    return Entry(
        number=None,
        at=outcome.ended_at,
        kind="run",
        event=outcome.status.value,
        name=view.run.workflow,
        value=decoded(outcome.value),
        error=outcome.failure,
    )


def entry_of(recorded: Recorded, kinds: dict[str, str]) -> Entry:
    """One event. `kinds` remembers what stands at a position, for events that do not say so themselves."""
    number, at = recorded.number, recorded.at
    match recorded.event:
        case Scheduled(position=position, kind=kind, name=name, args=args, due=due, upto=upto) as event:
            is_first = position not in kinds
            kinds[position] = kind.value
            return Entry(
                number=number,
                at=at,
                kind=kind.value,
                event="allowed" if event.given is not None and is_first else "scheduled",
                position=position,
                name=name,
                args=decoded(event.given or args) if is_first else None,
                value={"handed over": upto} if kind is Kind.MAP else None,
                until=due,
            )
        case Resolved() as event:
            return _resolved(number, at, event, first=event.position not in kinds)
        case AttemptFailed(position=position, name=name, attempt=attempt, failure=failure, retry_at=retry_at):
            return Entry(
                number=number,
                at=at,
                kind=kinds.get(position, "undo" if position.startswith("~") else "step"),
                event="attempt failed",
                position=position,
                name=name,
                attempt=attempt,
                error=failure,
                until=retry_at,
            )
        case SignalReceived(name=name, value=value):
            return Entry(
                number=number, at=at, kind="signal", event="received", name=name, value=decoded(value)
            )
        case TimerFired(position=position):
            known = kinds.get(position, "sleep")
            return Entry(number=number, at=at, kind=known, event="fired", position=position)
        case CancelRequested(reason=reason):
            return Entry(number=number, at=at, kind="run", event="cancel requested", value=reason or None)
        case DeadlinePassed():
            return Entry(number=number, at=at, kind="run", event="deadline passed")
        case UnwindStarted(cause=cause, plan=plan, scope=scope):
            return Entry(
                number=number,
                at=at,
                kind="run" if scope is None else "scope",
                event="unwinding",
                position=scope,
                value=[debt.name for debt in plan],
                error=cause.failure,
            )
        case Completed(value=value):
            return Entry(number=number, at=at, kind="run", event="returned", value=decoded(value))
        case Reopened(cause=cause):
            return Entry(number=number, at=at, kind="run", event="reopened", error=cause.failure)
        case Restarted(args=args):
            return Entry(number=number, at=at, kind="run", event="restarted", args=decoded(args))
        case OperatorActed(verb=verb, reason=reason, value=value):
            said = decoded(value) if value is not None else reason or None
            return Entry(number=number, at=at, kind="run", event=verb.value, value=said)
        case _:
            assert_never(recorded.event)


def _resolved(number: int, at: datetime, event: Resolved, *, first: bool) -> Entry:
    entry = Entry(
        number=number,
        at=at,
        kind=event.kind.value,
        event="completed",
        position=event.position,
        name=event.name,
        attempt=event.attempt if event.kind in {Kind.STEP, Kind.UNDO, Kind.MAP} else None,
        args=decoded(event.args) if first else None,
    )
    if event.kind is Kind.PUBLISH:
        return attrs.evolve(entry, event="published", args=None, value=decoded(event.args))
    if event.kind is Kind.PATCH:
        return attrs.evolve(entry, event="patched", args=None)
    match event.outcome:
        case Value(awaits=str(signal)):
            return attrs.evolve(entry, event="waiting", value=signal)
        case Value(data=data):
            return attrs.evolve(entry, value=decoded(data))
        case Failure() as failure if not event.attempt:
            return attrs.evolve(entry, event="vetoed", attempt=None, error=failure)
        case Failure() as failure if event.refused is not None:
            return attrs.evolve(entry, event="refused", value=decoded(event.refused), error=failure)
        case Failure() as failure:
            return attrs.evolve(entry, event="failed", error=failure)
        case Dropped(begun=begun):
            return attrs.evolve(entry, event="dropped", attempt=entry.attempt if begun else None)
