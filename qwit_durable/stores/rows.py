"""The rows that cross the seam between engine and store: frozen records, the same for every store.

`RunRow` never changes. `LiveRow` exists for open runs only and is the one row that changes often. A `TaskRow` is owed
work: a turn of a run (position "") or an attempt of a queued step; it is the outbox, and the bell for it may be rung
any number of times. All times are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import attrs

from qwit_durable.core import Event, Kind, Resumption, Status
from qwit_durable.core.retry import RecordedRetry
from qwit_durable.errors import Failure

__all__ = [
    "TURN",
    "InHand",
    "LaneRow",
    "LiveRow",
    "OutcomeRow",
    "PlaceRow",
    "PublishedRow",
    "Recorded",
    "Ring",
    "RunRow",
    "RunView",
    "TaskRow",
    "TaskSpec",
    "TimerKind",
    "TimerRow",
    "WorkerRow",
]

#: The position of the task that stands for a turn of the run itself.
TURN = ""

TimerKind = Literal["fire", "wake", "deadline", "expire"]


@attrs.frozen(kw_only=True)
class RunRow:
    """A run as it was started.

    Attributes:
        key: The id that users see: theirs, or the UUID's text.
        parent_position: Where the parent called it.
        lane: The lane in which it waits for its turn, or None; a sub-workflow has none of its own.
        start_at: Not before this; None for a run that starts at once.
        trace: The starter's trace context as JSON text, or None.
    """

    id: UUID
    namespace: str
    key: str
    workflow: str
    version: str | None
    queue: str
    root_id: UUID
    args: bytes
    created_at: datetime
    start_at: datetime | None = None
    parent_id: UUID | None = None
    parent_position: str | None = None
    lane: str | None = None
    attributes: dict[str, str | int | float | bool] = attrs.field(
        factory=dict[str, "str | int | float | bool"]
    )
    deadline_at: datetime | None = None
    trace: str | None = None

    @property
    def names_itself(self) -> bool:
        """Whether users know it by its own UUID, which is new and random: nobody else can have taken that id."""
        return self.key == str(self.id)


@attrs.frozen(kw_only=True)
class LiveRow:
    """What changes about an open run.

    Attributes:
        owner: The worker that holds the run, or None.
        epoch: Grows with each acquisition: the fencing token of every write of the holder.
        generation: How often the body was restarted; each generation numbers its events from 1.
        head: Number of the last event.
        awaiting: After how many further successes the run has to be woken.
        begun: Whether the holder may have begun an attempt that is not recorded yet.
        lost: How many holders have died so since the last progress.
        cancel_asked: Whether a cancel or a rollback is recorded: attempts under way are asked to stop.
        reason: Why it is stuck or paused, as JSON; None otherwise.
        note: Why the last worker left it, for `explain()`.
    """

    run_id: UUID
    status: Status
    updated_at: datetime
    owner: int | None = None
    epoch: int = 0
    head: int = 0
    awaiting: int = 1
    begun: bool = False
    lost: int = 0
    cancel_asked: bool = False
    reason: bytes | None = None
    note: str | None = None
    generation: int = 0


@attrs.frozen(kw_only=True)
class OutcomeRow:
    """How a run ended.

    `epoch`, `head` and `generation` are those of its last live row, for a sub-workflow that is reopened.
    """

    run_id: UUID
    status: Status
    ended_at: datetime
    value: bytes | None = None
    failure: Failure | None = None
    undone: tuple[str, ...] = ()
    epoch: int = 0
    head: int = 0
    generation: int = 0


@attrs.frozen(kw_only=True)
class LaneRow:
    """A lane that somebody is in. Numbers count the places that were given, from 1.

    Attributes:
        head: The run whose turn it is: it holds the lane until it has ended.
        number: That run's number.
        last: The number given last.
        waiting: How many wait behind the head.
        since: Since when that run has been the head.
    """

    namespace: str
    lane: str
    head: UUID
    since: datetime
    number: int = 1
    last: int = 1
    waiting: int = 0


@attrs.frozen(kw_only=True)
class PlaceRow:
    """The place of a run that waits in a lane."""

    run_id: UUID
    namespace: str
    lane: str
    number: int


@attrs.frozen(kw_only=True)
class PublishedRow:
    """What a body lets others see under a key: the latest value."""

    run_id: UUID
    key: str
    value: bytes
    at: datetime


@attrs.frozen(kw_only=True)
class Recorded:
    """One event of a history, with its number (from 1) and its time."""

    number: int
    at: datetime
    event: Event


@attrs.frozen(kw_only=True)
class TaskSpec:
    """What a queued attempt needs to know. Durations and Retry travel so that per-call options hold on any worker.

    `retry` is as `Retry.recorded()` gives it, or None for what the step says itself. `undoes` is as in
    `AttemptInfo`. `given` are the arguments that a guard put in the place of `args`. `then` is the position of the
    call of the same map that this one's success lets begin; `rings` the numbers, from and to, of those that nobody is
    rung for before this one begins. `timeout`, `deadline` and `transactional` count where `retry` is given.
    """

    kind: Kind
    name: str
    undoes: int | None = None
    args: bytes = b"null"
    given: bytes | None = None
    then: str | None = None
    rings: tuple[int, int] | None = None
    result: bytes | None = None
    resumes: Resumption | None = None
    failure: Failure | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    heartbeat: timedelta | None = None
    retry: RecordedRetry | None = None
    transactional: bool = False


@attrs.frozen(kw_only=True)
class TaskRow:
    """Owed work.

    Attributes:
        name: The step (or, for a turn, the workflow): which actor the bell is for.
        attempt: How many attempts have begun.
        owner: The worker in the middle of an attempt, or None.
        began_at: When the first attempt began.
        claimed_at: When the latest attempt began.
        ready_at: Not to be begun before this.
        ring_at: When the sweeper rings for it next.
        rings: How often the sweeper has rung.
        cancelled: The attempt under way is asked to stop; no other follows.
        opened: The last attempt that gave out a token for its completion; 0 for none.
        parked_at: When the code of that attempt had returned. Until somebody completes it nobody is rung for.
        ended: How the attempt was ended from outside, until somebody has decided what follows.
        progress: What was last reported about an attempt, as JSON.
        progress_at: When that was.
        note: Why the last worker that looked at it left it to others.
    """

    run_id: UUID
    position: str
    queue: str
    name: str
    ready_at: datetime
    ring_at: datetime
    priority: int | None = None
    attempt: int = 0
    owner: int | None = None
    began_at: datetime | None = None
    claimed_at: datetime | None = None
    rings: int = 0
    cancelled: bool = False
    spec: TaskSpec | None = None
    opened: int = 0
    parked_at: datetime | None = None
    ended: Failure | None = None
    progress: bytes | None = None
    progress_at: datetime | None = None
    note: str | None = None


@attrs.frozen(kw_only=True)
class TimerRow:
    """Something due at a time.

    `fire` records a `TimerFired`, `wake` asks for a turn, `deadline` ends the run, `expire` a step that is left open.
    """

    run_id: UUID
    position: str
    fire_at: datetime
    kind: TimerKind = "fire"


@attrs.frozen(kw_only=True)
class WorkerRow:
    """One incarnation of one process. It is alive until `expires_at`, as long as its process is."""

    id: int
    host: str
    pid: int
    process_started: float
    started_at: datetime
    beat_at: datetime
    expires_at: datetime
    queues: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class InHand:
    """What the threads of one worker are at, as far as that is recorded.

    Attributes:
        runs: How many runs they carry on.
        attempts: How many attempts of queued steps they make.
        since: Since when the one that has stood still for longest has.
    """

    runs: int = 0
    attempts: int = 0
    since: datetime

    @staticmethod
    def by_worker(parts: Iterable[tuple[int, InHand]]) -> dict[int, InHand]:
        """What each worker has, put together."""
        found: dict[int, InHand] = {}
        for worker, part in parts:
            known = found.get(worker, InHand(since=part.since))
            found[worker] = InHand(
                runs=known.runs + part.runs,
                attempts=known.attempts + part.attempts,
                since=min(known.since, part.since),
            )
        return found


@attrs.frozen(kw_only=True)
class Ring:
    """A bell that is owed: it says "look at this", and carries no truth."""

    run_id: UUID
    position: str
    queue: str
    name: str
    priority: int | None = None


@attrs.frozen(kw_only=True)
class RunView:
    """A run with where it stands, for readers: exactly one of `live` and `outcome` is set."""

    run: RunRow
    live: LiveRow | None = None
    outcome: OutcomeRow | None = None

    @property
    def generation(self) -> int:
        """How often the body was restarted."""
        row = self.live or self.outcome
        return 0 if row is None else row.generation

    @property
    def status(self) -> Status:
        """The run's status."""
        if self.outcome is not None:
            return self.outcome.status
        assert self.live is not None
        return self.live.status
