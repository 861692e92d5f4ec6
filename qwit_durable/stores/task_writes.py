"""Writes about owed work: a turn of a run is taken; an attempt of a task begins, comes on, ends or is left open.

Part of `stores.writes`, which lists every write there is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from qwit_durable.core import AttemptFailed, Resolved, Value
from qwit_durable.core.facts import fact
from qwit_durable.errors import Failure

if TYPE_CHECKING:
    from qwit_durable.stores.writes import Commit

__all__ = [
    "Acquire",
    "Claim",
    "CompleteTask",
    "FailTask",
    "KeepSecret",
    "LeaveTask",
    "OpenTask",
    "ParkTask",
    "ReportProgress",
    "Unclaim",
]


@fact(kw_only=True)
class Acquire:
    """Hold a run. Granted if it is open, due, neither paused nor stuck, and free or its holder is dead.

    `after` is the head up to which the caller knows the history of `generation`; of another one it wants everything.
    `may_take_over=False` treats every holder as alive. `lost_too=False` leaves a run of which a holder has died.
    """

    run_id: UUID
    worker: int
    after: int = 0
    generation: int = 0
    may_take_over: bool = True
    lost_too: bool = True


@fact(kw_only=True)
class Claim:
    """Begin an attempt of a queued step. Granted if the task is due and free, or its worker is dead.

    With a `turn`, which the caller would take with the outcome, the answer says how the run stands, if that outcome
    makes its turn due. `lost_too=False` leaves an attempt of which the worker has died.
    """

    run_id: UUID
    position: str
    worker: int
    lease: timedelta
    may_take_over: bool = True
    lost_too: bool = True
    turn: Acquire | None = None


@fact(kw_only=True)
class ResolveTask:
    """Record a queued step's outcome, if the caller still owns the attempt. Wakes the run when it is time.

    With a `turn`, whoever makes the run's turn due takes it in the same write, and nobody is rung for it. `then` is the
    whole of that turn, where the caller knows it beforehand: a transition that lets go of the run. It is carried out
    under the turn's epoch, if the history is then as long as the transition says; otherwise the caller has the turn.
    `lets_none` tells that its task has no `TaskSpec.then`, for stores that would have to open the spec to see it.
    """

    worker: int
    run_id: UUID
    attempt: int
    event: Resolved
    lets_none: bool = False
    turn: Acquire | None = None
    then: Commit | None = None


@fact(kw_only=True)
class FailTask:
    """Record a failed attempt and when the next one is due, if the caller still owns the attempt.

    `progress` is how far it had come, where that is not recorded yet.
    """

    worker: int
    run_id: UUID
    event: AttemptFailed
    progress: bytes | None = None


@fact(kw_only=True)
class LeaveTask:
    """Leave an attempt that nobody has begun to workers that can make it, and say why, for `explain()`."""

    run_id: UUID
    position: str
    note: str


@fact(kw_only=True)
class Unclaim:
    """Give back an attempt that the caller has claimed and has not begun: it counts for nothing."""

    worker: int
    run_id: UUID
    position: str
    attempt: int


@fact(kw_only=True)
class OpenTask:
    """Let an attempt be completed from outside from now on, if the caller still owns it."""

    worker: int
    run_id: UUID
    position: str
    attempt: int


@fact(kw_only=True)
class ParkTask:
    """Leave an attempt open: its code has returned, nobody owns it any more and nobody is rung for.

    Only if the caller still owns it. `until` bounds the wait: then the step has failed for good. If it was ended from
    outside meanwhile, the caller keeps it and is told how. If it was asked to stop, the command is settled.
    """

    worker: int
    run_id: UUID
    position: str
    attempt: int
    until: datetime | None = None


@fact(kw_only=True)
class ReportProgress:
    """Take down how far an attempt has come, if the caller still owns it. The answer says if it is asked to stop."""

    worker: int
    run_id: UUID
    position: str
    attempt: int
    detail: bytes


@fact(kw_only=True)
class CompleteTask:
    """From outside: a value for a step, or the end of one of its attempts.

    A value wins whichever attempt it is for, if it is the first outcome. A failure ends the attempt it is for, if that
    one is open: the task becomes due, and whoever claims it learns of the failure and decides what follows. Repeating
    either changes nothing. `ring_after` is when the sweeper rings if nobody has looked by then.
    """

    run_id: UUID
    generation: int
    position: str
    attempt: int
    outcome: Value | Failure
    ring_after: timedelta = timedelta(0)


@fact(kw_only=True)
class KeepSecret:
    """Keep a secret under a name, unless there is one; the answer is the one that stands, for all processes."""

    name: str
    value: bytes
