"""What the contract's tests play on: a store, its clock, and short words for the writes they make."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs

from qwit_durable.clock import ManualClock
from qwit_durable.core import Event, Kind, OperatorActed, Outcome, Resolved, Status, Value, Verb
from qwit_durable.errors import Failure
from qwit_durable.ids import child_id, new_run_id
from qwit_durable.stores.answers import Acquired, Claimed, Committed, Started
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import LaneRow, LiveRow, OutcomeRow, RunRow, TaskRow, TaskSpec, WorkerRow
from qwit_durable.stores.writes import (
    Acquire,
    Beat,
    Checkpoint,
    Claim,
    Commit,
    Deliver,
    NewTask,
    Release,
    Report,
    Start,
    Write,
)

__all__ = ["BROKEN", "LEASE", "NAMESPACE", "Hold", "Stage", "failed", "resolved", "seconds", "task"]

LEASE = timedelta(seconds=10)
NAMESPACE = "contract"
BROKEN = Failure(type="Broken", message="it broke", lineage=("Broken", "Exception"))


def seconds(count: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=count)


def resolved(position: str, outcome: Outcome | None = None, **changes: Any) -> Resolved:
    """A command's outcome; a value by default."""
    found = Resolved(
        position=position, kind=Kind.STEP, name="pack", args=b"[1]", outcome=outcome or Value(b'"box"')
    )
    return attrs.evolve(found, **changes)


def failed(position: str, **changes: Any) -> Resolved:
    """A command's failure."""
    return resolved(position, BROKEN, **changes)


def task(position: str, **changes: Any) -> NewTask:
    """A queued attempt to be made."""
    spec = TaskSpec(kind=Kind.STEP, name="pack", args=b"[1]")
    return attrs.evolve(NewTask(position=position, queue="packing", spec=spec), **changes)


class Stage:
    """A store and its clock."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock

    def do(self, write: Write) -> Any:
        """Carry out one write and give its answer."""
        return self.store.apply([write])[0]

    def wait(self, count: float) -> None:
        """Let so many seconds pass."""
        self.clock.advance(seconds(count))

    # -- runs --------------------------------------------------------------------------------------------------

    def row(self, key: str | None = None, **changes: Any) -> RunRow:
        """A run that nobody has started yet."""
        run_id = new_run_id(self.clock.now())
        found = RunRow(
            id=run_id,
            namespace=NAMESPACE,
            key=key or str(run_id),
            workflow="ship",
            version="1",
            queue="shipping",
            root_id=run_id,
            args=b'["order"]',
            created_at=self.clock.now(),
            attributes={"tenant": "acme"},
            trace='{"traceparent": "00-1"}',
        )
        return attrs.evolve(found, **changes)

    def start(self, key: str | None = None, *, row: RunRow | None = None, **options: Any) -> Started:
        """Start a run."""
        found = self.do(Start(run=row or self.row(key), **options))
        assert isinstance(found, Started)
        return found

    def join(self, lane: str = "left", **options: Any) -> Started:
        """Start a run in a lane."""
        self.wait(0.001)
        return self.start(row=self.row(lane=lane), **options)

    def queue(self, count: int, lane: str = "left") -> list[UUID]:
        """Start so many runs in a lane; the first is its head."""
        return [self.join(lane).run.id for _ in range(count)]

    def acquire(self, run_id: UUID, worker: int = 1, **options: Any) -> Any:
        """Ask to hold a run."""
        return self.do(Acquire(run_id=run_id, worker=worker, **options))

    def hold(self, run_id: UUID, worker: int = 1, **options: Any) -> Hold:
        """Hold a run that is free."""
        found = self.acquire(run_id, worker, **options)
        assert isinstance(found, Acquired), found
        return Hold(self, found, worker)

    def begin(self, worker: int = 1, key: str | None = None, **options: Any) -> Hold:
        """Start a run and hold it."""
        return self.hold(self.start(key, **options).run.id, worker)

    def child_of(self, hold: Hold, position: str) -> RunRow:
        """A sub-workflow that nobody has started yet."""
        run_id = child_id(hold.run.id, 0, position)
        return self.row(
            str(run_id), id=run_id, workflow="pack_all", parent_id=hold.run.id, parent_position=position,
            root_id=hold.run.root_id,
        )  # fmt: skip

    def tell(self, run_id: UUID, event: Any) -> Any:
        """Deliver something from outside."""
        return self.do(Deliver(run_id=run_id, event=event))

    def operate(self, run_id: UUID, verb: Verb, **options: Any) -> Any:
        """Use an operator's verb on a run."""
        return self.tell(run_id, OperatorActed(verb=verb, **options))

    # -- queued steps ------------------------------------------------------------------------------------------

    def claim(self, run_id: UUID, position: str, worker: int = 1, **options: Any) -> Any:
        """Ask to make an attempt."""
        return self.do(Claim(run_id=run_id, position=position, worker=worker, lease=LEASE, **options))

    def claimed(self, run_id: UUID, position: str, worker: int = 1) -> TaskRow:
        """Make an attempt that is free."""
        found = self.claim(run_id, position, worker)
        assert isinstance(found, Claimed), found
        return found.task

    # -- workers -----------------------------------------------------------------------------------------------

    def worker(self, worker: int, **changes: Any) -> WorkerRow:
        """A worker on some other machine."""
        now = self.clock.now()
        found = WorkerRow(
            id=worker,
            host="elsewhere",
            pid=4000 + worker,
            process_started=12.25,
            started_at=now,
            beat_at=now,
            expires_at=now,
            queues=("shipping", "packing"),
        )
        return attrs.evolve(found, **changes)

    def beat(self, *workers: int) -> None:
        """Let workers live for one lease from now."""
        for worker in workers:
            self.do(Beat(worker=self.worker(worker), lease=LEASE))

    # -- looking -----------------------------------------------------------------------------------------------

    def live(self, run_id: UUID) -> LiveRow:
        """The live row of an open run."""
        view = self.store.view(run_id)
        assert view is not None
        assert view.live is not None
        return view.live

    def outcome(self, run_id: UUID) -> OutcomeRow:
        """How a run ended."""
        view = self.store.view(run_id)
        assert view is not None
        assert view.live is None
        assert view.outcome is not None
        return view.outcome

    def lane(self, lane: str = "left") -> LaneRow:
        """A lane that somebody is in."""
        found = self.store.lane(NAMESPACE, lane)
        assert found is not None
        return found

    def head(self, lane: str = "left") -> UUID:
        """The run whose turn it is in a lane."""
        return self.lane(lane).head

    def events(self, run_id: UUID) -> list[Event]:
        """The history of a run."""
        return [recorded.event for recorded in self.store.history(run_id)]

    def tasks(self, run_id: UUID) -> dict[str, TaskRow]:
        """What is owed to a run, by position."""
        return {found.position: found for found in self.store.tasks(run_id)}


class Hold:
    """A run that a worker holds."""

    def __init__(self, stage: Stage, acquired: Acquired, worker: int) -> None:
        self.stage = stage
        self.acquired = acquired
        self.run = acquired.run
        self.id = acquired.run.id
        self.epoch = acquired.live.epoch
        self.head: int | None = acquired.live.head
        self.worker = worker

    def commit(self, *events: Event, **parts: Any) -> Any:
        """Commit a transition and give the answer."""
        options: dict[str, Any] = {"worker": self.worker, "epoch": self.epoch, "head": self.head, **parts}
        only_appends = (
            events and options["head"] is not None and options.keys() == {"worker", "epoch", "head"}
        )
        kind = Checkpoint if only_appends else Commit
        answer = self.stage.do(kind(run_id=self.id, events=events, **options))
        if isinstance(answer, Committed):
            self.head = answer.head
        return answer

    def committed(self, *events: Event, **parts: Any) -> Committed:
        """Commit a transition that wins."""
        answer = self.commit(*events, **parts)
        assert isinstance(answer, Committed), answer
        return answer

    def release(self, *events: Event, awaiting: int = 1, **parts: Any) -> Committed:
        """Commit a transition and let go."""
        return self.committed(*events, release=Release(awaiting=awaiting), **parts)

    def end(
        self, *events: Event, status: Status = Status.COMPLETED, takes_next: bool = False, **outcome: Any
    ) -> Committed:
        """End the run; a sub-workflow tells its parent, and who `takes_next` may have the next turn of its lane."""
        row = OutcomeRow(run_id=self.id, status=status, ended_at=self.stage.clock.now(), **outcome)
        report = None
        if self.run.parent_id is not None:
            told = resolved(
                self.run.parent_position or "",
                outcome.get("failure") or Value(outcome.get("value") or b"null"),
                kind=Kind.WORKFLOW,
                name=self.run.workflow,
            )
            report = Report(run_id=self.run.parent_id, event=told)
        return self.committed(*events, outcome=row, report=report, takes_next=takes_next)
