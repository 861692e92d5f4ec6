"""What the core answers: what to do next, given everything that is recorded."""

from __future__ import annotations

from datetime import datetime

from qwit_durable.core.commands import Leaf
from qwit_durable.core.events import Cause, Debt, Event, SignalReceived
from qwit_durable.core.facts import fact
from qwit_durable.core.status import Status
from qwit_durable.errors import Failure

__all__ = [
    "Advance",
    "Decision",
    "Finish",
    "Halt",
    "Mismatch",
    "Misuse",
    "Parked",
    "Pending",
    "StartOver",
    "UndoGaveUp",
    "Unwind",
]


@fact(kw_only=True)
class Pending:
    """A command without an outcome.

    Attributes:
        attempts: How many attempts of it have failed so far.
        begun: Whether attempts were made before a person had it tried again.
        scheduled: Whether a `Scheduled` event stands for it.
        queued: Whether a task was made for it.
        retry_at: When its next attempt is due, if it waits for one.
        began_at: When its first failed attempt began.
        given: The arguments that a guard put in the place of its own.
        handed: Of a map, how many of its calls were handed over.
        cause: Of an undo, why it is due.
    """

    position: str
    command: Leaf
    attempts: int = 0
    begun: bool = False
    scheduled: bool = False
    queued: bool = False
    due: datetime | None = None
    retry_at: datetime | None = None
    began_at: datetime | None = None
    given: bytes | None = None
    handed: int = 0
    cause: Cause | None = None


@fact(kw_only=True)
class Advance:
    """Begin these commands, wait for those, settle what nobody waits for any more.

    Attributes:
        begin: Commands to be carried out or handed over, in the order in which the body asked for them. A step that is
            `scheduled` but not `queued` is to be carried out by whoever holds the run.
        waiting: Commands handed over, without an outcome.
        settle: Commands to be ended: part of neither `begin` nor `waiting`. A map whose attempts under way are all that
            it still waits for is part of none.
        awaiting: After how many further successes the run can go on; any failure, signal or timer wakes it at once.
    """

    begin: tuple[Pending, ...] = ()
    waiting: tuple[Pending, ...] = ()
    settle: tuple[Pending, ...] = ()
    awaiting: int = 1


@fact(kw_only=True)
class Unwind:
    """Write down this plan, newest first, then go on with it: that of the run, or of a scope in its body."""

    cause: Cause
    plan: tuple[Debt, ...]
    scope: str | None = None


@fact(kw_only=True)
class StartOver:
    """Begin the body anew with these arguments; what is owed and unread signals come along, oldest first."""

    args: bytes
    owed: tuple[Debt, ...] = ()
    signals: tuple[SignalReceived, ...] = ()


@fact(kw_only=True)
class Finish:
    """The run has ended. `owed` is what a completed sub-workflow may yet be asked to undo."""

    status: Status
    value: bytes | None = None
    failure: Failure | None = None
    undone: tuple[str, ...] = ()
    owed: tuple[Debt, ...] = ()


@fact(kw_only=True)
class Mismatch:
    """The body no longer asks for what history holds at `position`."""

    position: str
    recorded: Event
    found: Leaf | None
    found_text: str = ""


@fact(kw_only=True)
class Misuse:
    """The body did something that can't be carried out durably."""

    message: str


@fact(kw_only=True)
class Parked:
    """The body has failed and waits for a person to decide.

    Attributes:
        position: Of the command that failed, if one did.
        refusal: Why the last retry or skip has had no effect.
    """

    cause: Cause
    position: str | None = None
    refusal: str = ""


@fact(kw_only=True)
class UndoGaveUp:
    """Undos have used up their attempts."""

    cause: Cause
    failed: tuple[tuple[Debt, Failure], ...]
    done: tuple[Debt, ...]
    owed: tuple[Debt, ...]


@fact(kw_only=True)
class Halt:
    """The run can't go on without a person or a fixed deploy; nothing is to be appended."""

    reason: Mismatch | Misuse | Parked | UndoGaveUp


Decision = Advance | Unwind | StartOver | Finish | Halt
