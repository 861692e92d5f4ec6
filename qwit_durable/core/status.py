"""The life of a run as one table that code, documentation and tests read.

A run is open (it has a row among the live ones) or ended. `stuck` and `paused` are open: they keep everything, append
nothing, and go on when a person says so.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ENDED", "OPEN", "TRANSITIONS", "Status", "Verb", "VERBS"]


class Status(StrEnum):
    """Where a run stands.

    >>> approval.start(order).status() is Status.RUNNING, Status.RUNNING.is_ended
    (True, False)
    """

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @classmethod
    def _missing_(cls, value: object) -> Status:
        msg = f"there is no status {value!r}\n  known: {', '.join(cls)}"
        raise ValueError(msg)

    @property
    def is_ended(self) -> bool:
        """True when nothing more happens to the run by itself."""
        return self in ENDED


class Verb(StrEnum):
    """What a person or a program may ask of a run from outside."""

    SIGNAL = "signal"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    ROLLBACK = "rollback"


ENDED = frozenset(
    {Status.COMPLETED, Status.COMPENSATED, Status.FAILED, Status.CANCELLED, Status.TERMINATED},
)
OPEN = frozenset(Status) - ENDED

#: Which status may follow which. A cancel or a deadline moves a scheduled run to `running` first, and a stuck one goes
#: back to where it was. An ended run is opened again where its parent unwinds: a completed sub-workflow is reopened to
#: undo what it did, and one that was terminated while it did so when its parent is told to retry.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.RUNNING, Status.TERMINATED, Status.PAUSED}),
    Status.RUNNING: frozenset(
        {
            Status.COMPLETED,
            Status.COMPENSATING,
            Status.FAILED,
            Status.CANCELLED,
            Status.TERMINATED,
            Status.PAUSED,
            Status.STUCK,
        },
    ),
    Status.COMPENSATING: frozenset(
        {Status.COMPENSATED, Status.CANCELLED, Status.TERMINATED, Status.PAUSED, Status.STUCK},
    ),
    Status.PAUSED: frozenset({Status.SCHEDULED, Status.RUNNING, Status.COMPENSATING, Status.TERMINATED}),
    Status.STUCK: frozenset({Status.RUNNING, Status.COMPENSATING, Status.TERMINATED}),
    Status.COMPLETED: frozenset({Status.COMPENSATING}),
    Status.COMPENSATED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.TERMINATED: frozenset({Status.COMPENSATING}),
}

#: Which verb is accepted in which status. Repeating one that has already had its effect is accepted and does nothing.
VERBS: dict[Verb, frozenset[Status]] = {
    Verb.SIGNAL: OPEN,
    Verb.CANCEL: OPEN,
    Verb.TERMINATE: OPEN,
    Verb.PAUSE: frozenset({Status.SCHEDULED, Status.RUNNING, Status.COMPENSATING, Status.PAUSED}),
    Verb.RESUME: frozenset({Status.PAUSED, Status.SCHEDULED, Status.RUNNING, Status.COMPENSATING}),
    Verb.RETRY: frozenset({Status.STUCK}),
    Verb.SKIP: frozenset({Status.STUCK}),
    Verb.ROLLBACK: frozenset({Status.RUNNING, Status.STUCK, Status.SCHEDULED, Status.PAUSED}),
}
