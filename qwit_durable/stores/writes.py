"""Every write there is, as a sentence of the domain, with its answers.

Each is atomic and idempotent: repeating one whose answer was lost does no harm. Each docstring states who may, what
happens, and who loses a race. What they mean row by row is written once, in `stores.kernel`, for all stores.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from qwit_durable.core import (
    CancelRequested,
    Cause,
    Event,
    OperatorActed,
    Resolved,
    Restarted,
    SignalReceived,
    Status,
)
from qwit_durable.core.facts import fact
from qwit_durable.stores.pruning import Prune
from qwit_durable.stores.rows import LiveRow, OutcomeRow, RunRow, TaskSpec, TimerRow
from qwit_durable.stores.schedules import DropSchedule, FireSchedule, PutSchedule
from qwit_durable.stores.task_writes import (
    Acquire,
    Claim,
    CompleteTask,
    FailTask,
    KeepSecret,
    LeaveTask,
    OpenTask,
    ParkTask,
    ReportProgress,
    ResolveTask,
    Unclaim,
)
from qwit_durable.stores.upkeep_writes import Beat, Disown, FireTimers, Lead, Reap, Retire, RingDue, WakeStuck

__all__ = [
    "Acquire",
    "Beat",
    "Checkpoint",
    "Claim",
    "Commit",
    "CompleteTask",
    "Deliver",
    "Disown",
    "FailTask",
    "FireTimers",
    "KeepSecret",
    "Lead",
    "LeaveTask",
    "NewTask",
    "OnConflict",
    "OpenTask",
    "ParkTask",
    "Reap",
    "Release",
    "Reopen",
    "Report",
    "ReportProgress",
    "ResolveTask",
    "Retire",
    "RingDue",
    "Start",
    "Transition",
    "Unclaim",
    "WakeStuck",
    "Write",
]

OnConflict = Literal["attach", "fail", "replace"]


# -- starting --------------------------------------------------------------------------------------------------


@fact(kw_only=True)
class Start:
    """Start a run. If a run of its key exists, that one is answered; `replace` starts afresh when it has ended.

    The store's time is taken: it sets `created_at`, and `delay` and `deadline` count from it. `ring_after` is when the
    sweeper rings if nobody has looked at the run by then: zero if the caller rings nobody. `within` is set by the store
    where it happens in a caller's transaction: whoever is in a lane would wait for the end of that, so the run takes
    its place afterwards, as one does that is due then.

    A `holder` is a worker that takes the first turn with the same write, if the run is to begin at once.
    """

    run: RunRow
    delay: timedelta | None = None
    deadline: timedelta | None = None
    on_conflict: OnConflict = "attach"
    ring_after: timedelta = timedelta(0)
    within: bool = False
    holder: int | None = None


# -- turns -----------------------------------------------------------------------------------------------------


@fact(kw_only=True)
class NewTask:
    """A queued attempt to be made; or one under way, which the holder makes: then `attempt` is its number.

    It is held back as long as the task at `after` is there, which then lets it begin. With `quiet` nobody is rung for
    it: somebody will be, or else the sweeper rings after so long. `opened` and `progress` are as in `TaskRow`.
    """

    position: str
    queue: str
    spec: TaskSpec
    priority: int | None = None
    after: str | None = None
    quiet: timedelta | None = None
    attempt: int = 0
    began_at: datetime | None = None
    opened: bool = False
    progress: bytes | None = None


@fact(kw_only=True)
class Reopen:
    """Reopen a completed sub-workflow, so that it undoes what it did. A no-op if it is open already.

    `at` is the position in its parent's history at which it will report.
    """

    run_id: UUID
    cause: Cause
    at: str


@fact(kw_only=True)
class Report:
    """What an ended sub-workflow tells its parent."""

    run_id: UUID
    event: Resolved


@fact(kw_only=True)
class Release:
    """Let go of a run.

    Attributes:
        awaiting: After how many successes to wake it.
        keep_lost: Whether attempts lost so far still count: True when a step was about to begin and did not.
        wake_at: Ask for another turn at this time: a time slice or a drain asks for now.
        note: Why, for `explain()`.
    """

    awaiting: int = 1
    keep_lost: bool = False
    wake_at: datetime | None = None
    note: str | None = None


@fact(kw_only=True)
class Checkpoint:
    """The transition that a held run makes once a step: events are appended, and nothing else happens.

    A `Commit` that says no more than this, under a name of its own because it is by far the most frequent write.
    """

    run_id: UUID
    worker: int
    epoch: int
    head: int
    events: tuple[Event, ...]

    def as_commit(self) -> Commit:
        """The same sentence."""
        return Commit(
            run_id=self.run_id, worker=self.worker, epoch=self.epoch, head=self.head, events=self.events
        )


@fact(kw_only=True)
class Commit:
    """One transition of a held run: all of it or nothing.

    Refused as `Fenced` when the caller no longer holds the run under `epoch`; as `Conflict` when `head` is
    given and the history has grown by somebody else's event (except that a run which is only let go of does not mind
    successes: they count as those that it waits for). `settle` ends commands nobody waits for, each
    given as the event that is recorded if it can be dropped: timers, waits, backoffs and tasks not begun are;
    attempts under way are asked to stop and sub-workflows are cancelled, and their outcome is waited for.
    `published` are values to be seen from outside, by key. `restart` ends this generation: its history is removed and
    the next one begins with that event. `generation` is the holder's. Where `known` is given instead of `head`, the
    transition holds whatever has come after that event, and the answer says what has.

    With `takes_next` the end of a run takes the turn of the one that its lane goes on with, if that waits in the same
    queue and is free: the answer has it. Otherwise a bell is owed for it, as ever.

    With `seen` nobody has acquired the run: its turn is taken and given back in this one write, by a caller who knows
    how it stands from `Reader.glance`. Refused as `Fenced` unless that is how it stands still.
    """

    run_id: UUID
    worker: int
    epoch: int
    head: int | None
    known: int | None = None
    seen: LiveRow | None = None
    events: tuple[Event, ...] = ()
    settle: tuple[Resolved, ...] = ()
    tasks: tuple[NewTask, ...] = ()
    timers: tuple[TimerRow, ...] = ()
    drop_timers: tuple[str, ...] = ()
    starts: tuple[RunRow, ...] = ()
    reopens: tuple[Reopen, ...] = ()
    status: Status | None = None
    reason: bytes | None = None
    published: tuple[tuple[str, bytes], ...] = ()
    restart: Restarted | None = None
    generation: int = 0
    outcome: OutcomeRow | None = None
    report: Report | None = None
    release: Release | None = None
    takes_next: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it touches no rows but the run's own, its history and how it stands or ended."""
        return (
            self.known is None
            and self.release is None
            and self.report is None
            and self.reason is None
            and self.restart is None
            and not (
                self.settle
                or self.tasks
                or self.timers
                or self.drop_timers
                or self.starts
                or self.reopens
                or self.published
            )
        )


#: What a holder writes.
Transition = Checkpoint | Commit


# -- from outside ----------------------------------------------------------------------------------------------


@fact(kw_only=True)
class Deliver:
    """A signal, a cancel or an operator's verb for a run. Refused by the table `core.status.VERBS`.

    `ring_after` is when the sweeper rings if nobody has looked at the run by then: zero if the caller rings nobody. The
    answer to a signal has no bell where the run is owed a turn already and was rung for a moment ago.
    """

    run_id: UUID
    event: SignalReceived | CancelRequested | OperatorActed
    ring_after: timedelta = timedelta(0)


Write = (
    Start
    | PutSchedule
    | DropSchedule
    | FireSchedule
    | Prune
    | Acquire
    | Checkpoint
    | Commit
    | Claim
    | ResolveTask
    | FailTask
    | OpenTask
    | ParkTask
    | ReportProgress
    | LeaveTask
    | Unclaim
    | CompleteTask
    | KeepSecret
    | Deliver
    | FireTimers
    | RingDue
    | Beat
    | Retire
    | Disown
    | Reap
    | Lead
    | WakeStuck
)
