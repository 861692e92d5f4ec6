"""What the history of a run holds: facts, in the order in which they were recorded.

The n-th event of a run has the number n, from 1. A position is the path of a command: "3" is the body's fourth
command, "3.1.0" the first command of the second branch of the gather at "3", and "~3" the undo of the command at "3".
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import attrs

from qwit_durable.core.carried import Carried
from qwit_durable.core.commands import Kind
from qwit_durable.core.facts import fact
from qwit_durable.core.outcome import Outcome
from qwit_durable.core.status import Verb
from qwit_durable.errors import Failure

__all__ = [
    "AttemptFailed",
    "CancelRequested",
    "Cause",
    "Completed",
    "Debt",
    "DebtKind",
    "DeadlinePassed",
    "Event",
    "OperatorActed",
    "Reopened",
    "Resolved",
    "Restarted",
    "Scheduled",
    "SignalReceived",
    "TimerFired",
    "UnwindStarted",
    "origin_of",
]


class DebtKind(StrEnum):
    """What sort of undo is owed."""

    UNDO = "undo"  # the undo of a step
    CALL = "call"  # a call handed to compensate()
    RUN = "run"  # a completed sub-workflow, to be reopened


@fact(kw_only=True)
class Debt:
    """One owed undo: all that is needed to pay it without asking the body again.

    `attempt` is the number of the step's attempt whose effect is to be undone. `settings` are the options of a call
    that was handed to `compensate()`, if it had some of its own.
    """

    position: str
    kind: DebtKind
    name: str
    args: bytes = b"null"
    result: bytes | None = None
    attempt: int = 1
    settings: Carried | None = None

    def before_restart(self, generation: int) -> Debt:
        """The same as it comes along when that generation of the body ends: "0@3" is what "3" was in the first one."""
        return self if "@" in self.position else attrs.evolve(self, position=f"{generation}@{self.position}")


def origin_of(position: str, generation: int) -> tuple[int, str]:
    """The generation whose command is undone, and its position in it; `generation` is the one that owes it."""
    before, _, place = position.rpartition("@")
    return (int(before) if before else generation), place


@fact(kw_only=True)
class Cause:
    """Why a run is unwound. `cancelled` decides between ending cancelled and ending compensated."""

    failure: Failure
    cancelled: bool = False


@fact(kw_only=True)
class Scheduled:
    """A command was handed over: a task, a timer, a wait or a sub-workflow exists for it from now on.

    For an inline step (not `queued`) with an `attempted` undo this is the debt's record, written before the first
    attempt. `given` are the arguments that a guard put in the place of what the body asked for. Of a map, `upto` is how
    many of its calls have been handed over so far.
    """

    position: str
    kind: Kind
    name: str
    args: bytes = b"null"
    due: datetime | None = None
    queued: bool = False
    given: bytes | None = None
    upto: int = 0


@fact(kw_only=True)
class Resolved:
    """A command has its outcome: the first one recorded at its position, for ever.

    `owes` is set where a completed sub-workflow has something to undo. `attempt` 0 is a step that a guard did not let
    begin; `refused` is the value of one whose success a guard refused: its undo is owed.
    """

    position: str
    kind: Kind
    name: str
    args: bytes = b"null"
    outcome: Outcome
    attempt: int = 1
    owes: bool = False
    refused: bytes | None = None


@fact(kw_only=True)
class AttemptFailed:
    """An attempt failed and another one is due at `retry_at`."""

    position: str
    name: str
    attempt: int
    failure: Failure
    retry_at: datetime | None = None
    began_at: datetime | None = None


@fact(kw_only=True)
class SignalReceived:
    """A signal came from outside. Signals of one name are consumed in this order."""

    name: str
    value: bytes = b"null"
    dedupe_id: str | None = None


@fact(kw_only=True)
class TimerFired:
    """The timer of the command at `position` is due."""

    position: str


@fact(kw_only=True)
class CancelRequested:
    """Somebody asked the run to stop."""

    reason: str = ""
    compensate: bool = True


@fact(kw_only=True)
class DeadlinePassed:
    """The run's deadline has passed."""

    deadline: timedelta | None = None


@fact(kw_only=True)
class UnwindStarted:
    """The plan of owed undos, newest first: written once, followed whatever becomes of the body.

    `scope` is the position of the saga, or of the lost member of a race, that is unwound; None for the run itself.
    """

    cause: Cause
    plan: tuple[Debt, ...]
    scope: str | None = None


@fact(kw_only=True)
class Completed:
    """The body returned. `owed` is what a parent may yet ask this run to undo, newest first."""

    value: bytes = b"null"
    owed: tuple[Debt, ...] = ()


@fact(kw_only=True)
class Reopened:
    """The parent unwinds and asks this completed run to undo what it did. `at`: where in the parent that is asked."""

    cause: Cause
    at: str = ""


@fact(kw_only=True)
class Restarted:
    """The body begins anew with these arguments: always the first event of a history.

    What was owed and which signals nobody had taken came along, oldest first.
    """

    args: bytes
    owed: tuple[Debt, ...] = ()
    signals: tuple[SignalReceived, ...] = ()


@fact(kw_only=True)
class OperatorActed:
    """A person, or a program in a person's name, used a verb on the run."""

    verb: Verb
    reason: str = ""
    value: bytes | None = None


Event = (
    Scheduled
    | Resolved
    | AttemptFailed
    | SignalReceived
    | TimerFired
    | CancelRequested
    | DeadlinePassed
    | UnwindStarted
    | Completed
    | Reopened
    | Restarted
    | OperatorActed
)
