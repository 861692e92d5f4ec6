"""What a store answers to a write: granted or refused, done, lost to another, or what is owed now."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qwit_durable.core import Event, Status
from qwit_durable.core.facts import fact
from qwit_durable.errors import Failure
from qwit_durable.stores.pruning import Pruned
from qwit_durable.stores.rows import LiveRow, Ring, RunRow, TaskRow
from qwit_durable.stores.schedules import Fired, Scheduled, ScheduleRow

__all__ = [
    "Accepted",
    "Acquired",
    "Answer",
    "Claimed",
    "Committed",
    "Conflict",
    "Fenced",
    "Kept",
    "Refused",
    "Rings",
    "Standing",
    "Started",
]


@fact(kw_only=True)
class Started:
    """The run that now stands under the key, and whether this write made it.

    Either a bell is owed for it, or the caller has its first turn, or nothing is due.
    """

    run: RunRow
    created: bool
    status: Status
    ring: Ring | None = None
    acquired: Acquired | None = None


@fact(kw_only=True)
class Acquired:
    """The run is held under `live.epoch`. `events` are those after what the caller knew; `now` is the store's time."""

    run: RunRow
    live: LiveRow
    events: tuple[Event, ...]
    now: datetime


@fact(kw_only=True)
class Committed:
    """The transition is durable.

    `came` are the events of others before those of the caller, if it asked for them; `settled` are those that settling
    recorded, after them. `acquired` is the run that the caller's lane goes on with, if it is the caller's now.
    """

    head: int
    now: datetime
    settled: tuple[Event, ...] = ()
    rings: tuple[Ring, ...] = ()
    cancel_asked: bool = False
    came: tuple[Event, ...] = ()
    acquired: Acquired | None = None


@fact(kw_only=True)
class Conflict:
    """The history has grown meanwhile; nothing was written. Look again."""

    head: int


@fact(kw_only=True)
class Fenced:
    """The caller has lost what it held; nothing was written. Drop everything quietly."""


@fact(kw_only=True)
class Standing:
    """How far a run is that nobody holds. `events` are those after what the caller knew."""

    head: int
    status: Status
    events: tuple[Event, ...]


@fact(kw_only=True)
class Claimed:
    """The attempt `task.attempt` is this worker's. `lost` tells that the one before died with its worker.

    `standing` is there if it was asked for, nothing but this attempt stands between the run and its next turn, and what
    the caller does not know is not long.
    """

    task: TaskRow
    run: RunRow
    generation: int
    now: datetime
    lost: bool = False
    standing: Standing | None = None


@fact(kw_only=True)
class Accepted:
    """It is recorded, or had its effect before (`repeated`).

    Attributes:
        head: The number of the event that records it, where one does.
        cancel_asked: Whether the attempt is asked to stop.
        ended: How the attempt was ended from outside: the caller still owns it.
        acquired: The run's turn, where it was asked for and is due now.
        committed: How that turn went, where it was known beforehand.
    """

    rings: tuple[Ring, ...] = ()
    repeated: bool = False
    head: int = 0
    cancel_asked: bool = False
    ended: Failure | None = None
    acquired: Acquired | None = None
    committed: Committed | None = None


@fact(kw_only=True)
class Refused:
    """It can't be: the reason, and the run's status if there is one.

    Of a completion: `restarted` (the body has begun anew), `completed`, `failed` (with `failure`) or `settled` (nobody
    waits for the step any more). `lost`: whoever had it before has died, and the caller would not have it so; with the
    `ring` by which it is asked for again.
    """

    reason: Literal[
        "missing",
        "ended",
        "held",
        "paused",
        "stuck",
        "early",
        "status",
        "restarted",
        "completed",
        "failed",
        "settled",
        "code",
        "lost",
    ]
    status: Status | None = None
    failure: Failure | None = None
    ring: Ring | None = None


@fact(kw_only=True)
class Rings:
    """The bells that are owed now; `more` tells that the limit was reached.

    `schedules` are those that are due at `now`, for somebody who knows when they are due next.
    """

    rings: tuple[Ring, ...] = ()
    more: bool = False
    next_timer_at: datetime | None = None
    next_schedule_at: datetime | None = None
    schedules: tuple[ScheduleRow, ...] = ()
    now: datetime | None = None


@fact(kw_only=True)
class Kept:
    """The secret that stands."""

    value: bytes


Answer = (
    Started
    | Acquired
    | Committed
    | Conflict
    | Fenced
    | Claimed
    | Accepted
    | Refused
    | Rings
    | Kept
    | Scheduled
    | Fired
    | Pruned
)
