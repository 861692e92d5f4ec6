"""Random writes that have a chance: drawn with a look at what stands in the store in memory.

Neighbour: `model` carries them out on two stores.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs
from hypothesis import strategies as st

from qwit_durable.clock import ManualClock
from qwit_durable.core import (
    CancelRequested,
    Cause,
    Kind,
    OperatorActed,
    Resolved,
    Restarted,
    SignalReceived,
    Status,
    Value,
    Verb,
)
from qwit_durable.errors import Failure
from qwit_durable.ids import child_id
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import TURN, OutcomeRow, RunRow, RunView, TaskRow, TimerRow, WorkerRow
from qwit_durable.stores.writes import (
    Acquire,
    Beat,
    Checkpoint,
    Commit,
    Deliver,
    Disown,
    FireTimers,
    Lead,
    NewTask,
    Reap,
    Release,
    Reopen,
    Report,
    Retire,
    RingDue,
    Start,
    WakeStuck,
    Write,
)
from qwit_durable.testing.contract.attempts import work_on
from qwit_durable.testing.contract.facts import events, failures, payloads, specs

__all__ = ["NAMESPACE", "Drawing"]

NAMESPACE = "model"
_WORKERS = st.sampled_from([1, 2, 3])
_POSITIONS = st.sampled_from(["0", "1", "1.0"])
_NOW_AND_THEN = st.sampled_from([0] * 15 + [1])
_ENOUGH_RUNS = 5
_FAILURE = Failure(type="Boom", message="it broke", lineage=("Boom",))
_LEASE = timedelta(seconds=10)


class Drawing:
    """Draws writes. `run_ids` are the runs that any of them has named."""

    def __init__(self, oracle: MemoryStore, clock: ManualClock) -> None:
        self.oracle = oracle
        self.clock = clock
        self.run_ids: list[UUID] = []

    def draw(self, draw: Any) -> Write:
        """Draw one write."""
        views = [view for run_id in self.run_ids if (view := self.oracle.view(run_id)) is not None]
        lives = [view.live for view in views if view.live is not None]
        makers: list[Callable[[Any], Write]] = [self._tend]
        if len(lives) < _ENOUGH_RUNS:
            makers += [self._start] * (1 if lives else 5)
        if self.run_ids:
            makers += [self._deliver]
        if any(live.owner is None for live in lives):
            makers += [self._acquire] * 3
        if any(live.owner is not None for live in lives):
            makers += [self._commit] * 6
        if self._open_tasks():
            makers += [self._work] * 5
        make: Callable[[Any], Write] = draw(st.sampled_from(makers))
        return make(draw)

    def appends(self, draw: Any) -> list[Write]:
        """Draw what a busy process writes at once: for each run that is held, events alone; now and then in vain."""
        views = [self.oracle.view(run_id) for run_id in self.run_ids]
        held = [view.live for view in views if view and view.live and view.live.owner]
        return [
            Checkpoint(
                run_id=live.run_id,
                worker=live.owner or 0,
                epoch=live.epoch - draw(_NOW_AND_THEN),
                head=live.head + draw(_NOW_AND_THEN),
                events=tuple(draw(st.lists(events, min_size=1, max_size=2))),
            )
            for live in held
        ]

    def _new_id(self, draw: Any) -> UUID:
        run_id: UUID = draw(st.uuids(version=4).filter(lambda found: found not in self.run_ids))
        self.run_ids.append(run_id)
        return run_id

    def _row(self, run_id: UUID, key: str, draw: Any, **changes: Any) -> RunRow:
        options: dict[str, Any] = {"root_id": run_id, **changes}
        return RunRow(
            id=run_id,
            namespace=NAMESPACE,
            key=key,
            workflow=draw(st.sampled_from(["ship", "checkout"])),
            version=draw(st.none() | st.just("2")),
            queue=draw(st.sampled_from(["default", "default", "default", "slow"])),
            args=draw(payloads),
            created_at=self.clock.now(),
            attributes=draw(
                st.dictionaries(st.sampled_from("ab"), st.integers(0, 2) | st.booleans(), max_size=2)
            ),
            **options,
        )

    def _start(self, draw: Any) -> Write:
        run_id = self._new_id(draw)
        key = draw(st.sampled_from(["a", "b", str(run_id)]))
        lane = draw(st.sampled_from([None, None, "left", "left", "right"]))
        return Start(
            run=self._row(run_id, key, draw, lane=lane),
            delay=draw(st.sampled_from([None, None, None, timedelta(seconds=5)])),
            deadline=draw(st.none() | st.just(timedelta(seconds=20))),
            on_conflict=draw(st.sampled_from(["attach", "fail", "replace"])),
            ring_after=draw(st.sampled_from([timedelta(0), timedelta(seconds=2)])),
            holder=draw(st.none() | _WORKERS),
        )

    def _view(self, draw: Any, *, held: bool) -> RunView | None:
        views = [view for run_id in self.run_ids if (view := self.oracle.view(run_id)) is not None]
        fitting = [view for view in views if view.live is not None and (view.live.owner is not None) is held]
        one: RunView | None = draw(st.sampled_from(fitting * 4 + views)) if views else None
        return one

    def _acquire(self, draw: Any) -> Write:
        view = self._view(draw, held=False)
        head = view.live.head if view is not None and view.live is not None else 0
        return Acquire(
            run_id=view.run.id if view is not None else draw(st.sampled_from(self.run_ids)),
            worker=draw(_WORKERS),
            after=draw(st.integers(0, head)),
            generation=draw(st.sampled_from([0, view.generation if view is not None else 0])),
            may_take_over=draw(st.booleans()),
            lost_too=draw(st.booleans()),
        )

    def _end_at_once(self, draw: Any) -> Write | None:
        """The end, or a rest, of a run that nobody holds."""
        view = self._view(draw, held=False)
        if view is None or view.live is None:
            return None
        live = view.live
        parts: dict[str, Any] = (
            {"release": Release()} if draw(st.booleans()) else self._ending(view.run, draw)
        )
        return Commit(
            run_id=view.run.id,
            worker=draw(_WORKERS),
            epoch=live.epoch,
            head=live.head,
            seen=attrs.evolve(live, epoch=live.epoch - draw(_NOW_AND_THEN)),
            events=tuple(draw(st.lists(events, max_size=2))),
            **parts,
        )

    def _commit(self, draw: Any) -> Write:
        at_once = self._end_at_once(draw) if draw(st.sampled_from([False] * 3 + [True])) else None
        if at_once is not None:
            return at_once
        view = self._view(draw, held=True)
        if view is None or view.live is None:
            return Commit(run_id=draw(st.sampled_from(self.run_ids)), worker=1, epoch=1, head=0)
        run, live = view.run, view.live
        base: dict[str, Any] = {
            "run_id": run.id,
            "worker": live.owner or draw(_WORKERS),
            "epoch": live.epoch + draw(st.sampled_from([0] * 9 + [1])),
            "head": draw(st.sampled_from([live.head] * 5 + [None, live.head + 1])),
            "events": tuple(draw(st.lists(events, max_size=3))),
        }
        if draw(st.booleans()):
            only_appends = base["events"] and base["head"] is not None
            return Checkpoint(**base) if only_appends else Commit(**base)
        base["tasks"] = tuple(
            NewTask(
                position=position,
                queue="default",
                spec=attrs.evolve(draw(specs), then=draw(st.none() | _POSITIONS)),
                priority=draw(st.none() | st.just(3)),
                after=draw(st.none() | _POSITIONS),
                quiet=draw(st.none() | st.just(timedelta(seconds=5))),
                attempt=draw(st.sampled_from([0, 0, 0, 1])),
            )
            for position in sorted(draw(st.sets(_POSITIONS, max_size=2)))
        )
        base["timers"] = tuple(
            TimerRow(
                run_id=run.id, position=position, fire_at=self.clock.now() + timedelta(seconds=3), kind=kind
            )
            for position, kind in draw(
                st.dictionaries(_POSITIONS, st.sampled_from(["fire", "wake"]), max_size=2)
            ).items()
        )
        base["drop_timers"] = tuple(draw(st.sets(_POSITIONS, max_size=2)))
        base["starts"] = tuple(
            self._child(run, position, draw) for position in draw(st.sets(_POSITIONS, max_size=1))
        )
        base["settle"] = tuple(
            Resolved(
                position=position,
                kind=draw(st.sampled_from([Kind.STEP, Kind.WORKFLOW, Kind.MAP])),
                name="x",
                outcome=Value(),
            )
            for position in draw(st.sets(_POSITIONS, max_size=2))
        )
        base["reopens"] = tuple(
            Reopen(run_id=child.run.id, cause=Cause(failure=_FAILURE), at="~0")
            for child in self.oracle.children(run.id)
            if child.outcome is not None and draw(st.sampled_from([True, True, False]))
        )
        base["published"] = tuple(
            (key, b"1") for key in sorted(draw(st.sets(st.sampled_from("kl"), max_size=2)))
        )
        ending = draw(st.sampled_from(["go on", "go on", "release", "end", "stuck", "restart"]))
        if ending == "restart":
            again = Restarted(args=draw(payloads))
            only = {name: base[name] for name in ("run_id", "worker", "epoch", "head", "published")}
            return Commit(**only, restart=again)
        if ending == "release":
            wake_at = draw(
                st.none() | st.sampled_from([0, 2]).map(lambda s: self.clock.now() + timedelta(seconds=s))
            )
            awaiting, keep_lost = draw(st.integers(0, 2)), draw(st.booleans())
            base["release"] = Release(awaiting=awaiting, keep_lost=keep_lost, wake_at=wake_at, note="why")
        elif ending == "stuck":
            reason = Reason(kind=draw(st.sampled_from(["code", "undo", "failed"])), text="why")
            base |= {"status": Status.STUCK, "reason": reason.encode(), "release": Release()}
        elif ending == "end":
            base |= self._ending(run, draw)
        return Commit(**base)

    def _child(self, run: RunRow, position: str, draw: Any) -> RunRow:
        found = child_id(run.id, 0, position)
        if found not in self.run_ids:
            self.run_ids.append(found)
        return self._row(
            found, str(found), draw, parent_id=run.id, parent_position=position, root_id=run.root_id
        )

    def _ending(self, run: RunRow, draw: Any) -> dict[str, Any]:
        status = draw(st.sampled_from([Status.COMPLETED, Status.FAILED]))
        outcome = OutcomeRow(
            run_id=run.id,
            status=status,
            ended_at=self.clock.now(),
            value=draw(st.none() | payloads),
            failure=draw(st.none() | failures),
            undone=tuple(draw(st.lists(st.sampled_from(["refund", "unpack"]), max_size=2))),
        )
        if run.parent_id is None:
            return {"outcome": outcome, "takes_next": draw(st.booleans())}
        told = _FAILURE if status is Status.FAILED else Value(b"1")
        event = Resolved(
            position=run.parent_position or "", kind=Kind.WORKFLOW, name=run.workflow, outcome=told
        )
        return {"outcome": outcome, "report": Report(run_id=run.parent_id, event=event)}

    def _open_tasks(self) -> list[TaskRow]:
        return [
            task for run_id in self.run_ids for task in self.oracle.tasks(run_id) if task.position != TURN
        ]

    def _work(self, draw: Any) -> Write:
        task: TaskRow = draw(st.sampled_from(self._open_tasks()))
        view = self.oracle.view(task.run_id)
        return work_on(task, None if view is None else view.live, self.clock.now(), draw)

    def _deliver(self, draw: Any) -> Write:
        signal = st.builds(
            SignalReceived, name=st.just("go"), value=payloads, dedupe_id=st.none() | st.sampled_from("xy")
        )
        acts = st.builds(OperatorActed, verb=st.sampled_from(sorted(set(Verb) - {Verb.SIGNAL, Verb.CANCEL})))
        event = draw(signal | acts | st.just(CancelRequested(reason="enough")))
        ring_after = draw(st.sampled_from([timedelta(0), timedelta(seconds=2)]))
        return Deliver(run_id=draw(st.sampled_from(self.run_ids)), event=event, ring_after=ring_after)

    def _tend(self, draw: Any) -> Write:
        worker = draw(_WORKERS)
        known = tuple(self.run_ids)
        one = (
            st.builds(FireTimers, run_id=st.sampled_from(known), position=_POSITIONS | st.just("start"))
            if known
            else st.nothing()
        )
        tasks = frozenset((row.run_id, row.position) for row in self._open_tasks())
        row = WorkerRow(
            id=worker,
            host="elsewhere",
            pid=worker,
            process_started=0.5,
            started_at=self.clock.now(),
            beat_at=self.clock.now(),
            expires_at=self.clock.now(),
            queues=("default", "mail"),
        )
        choices: st.SearchStrategy[Write] = st.one_of(
            st.builds(FireTimers, limit=st.sampled_from([1, 500])),
            one,
            st.builds(RingDue, limit=st.sampled_from([1, 500]), queues=st.none() | st.just(("default",))),
            st.just(Beat(worker=row, lease=_LEASE)),
            st.just(Beat(worker=row, lease=_LEASE, asks=Lead(duty="sweep", worker=worker, lease=_LEASE))),
            st.builds(Retire, worker=st.just(worker), unheard=st.sampled_from([None, tasks])),
            st.just(
                Disown(
                    worker=worker,
                    runs=frozenset(known),
                    tasks=tasks,
                    older_than=timedelta(seconds=3),
                )
            ),
            st.builds(Reap, orphans=st.sampled_from([(), known]), alone=st.sampled_from([None, worker])),
            st.builds(
                Lead, duty=st.sampled_from(["sweep", "prune"]), worker=st.just(worker), lease=st.just(_LEASE)
            ),
            st.builds(WakeStuck, limit=st.sampled_from([1, 1000])),
        )
        found: Write = draw(choices)
        return found
