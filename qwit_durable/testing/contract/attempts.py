"""Random writes about one task: what its worker, another one, or somebody outside may do about its attempts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from qwit_durable.core import AttemptFailed, Kind, Resolved, Scheduled, Value
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import LiveRow, TaskRow
from qwit_durable.stores.writes import (
    Acquire,
    Claim,
    Commit,
    CompleteTask,
    FailTask,
    OpenTask,
    ParkTask,
    Release,
    ReportProgress,
    ResolveTask,
    Unclaim,
    Write,
)
from qwit_durable.testing.contract.stage import task as new_task

__all__ = ["work_on"]

_WORKERS = st.sampled_from([1, 2, 3])
_FAILURE = Failure(type="Boom", message="it broke", lineage=("Boom",))
_LEASE = timedelta(seconds=10)
_AT_ONCE: dict[str, Any] = {"attempt": 1, "quiet": _LEASE}
_OF_AN_OWNER = ["resolve", "resolve", "fail", "open", "park", "progress", "complete", "give back"]
_OF_OTHERS = ["claim", "claim", "claim", "claim", "resolve", "complete", "complete"]


def work_on(task: TaskRow, live: LiveRow | None, now: datetime, draw: Any) -> Write:
    """Draw one write; `live` is the live row of the task's run."""
    generation, head = (0, 0) if live is None else (live.generation, live.head)
    attempt: int = task.attempt + draw(st.sampled_from([0] * 5 + [1]))
    own: dict[str, Any] = {
        "worker": task.owner or draw(_WORKERS),
        "run_id": task.run_id,
        "position": task.position,
        "attempt": attempt,
    }
    outcome = draw(st.sampled_from([Value(b"7"), _FAILURE]))
    match draw(st.sampled_from(_OF_AN_OWNER if task.owner is not None else _OF_OTHERS)):
        case "resolve":
            event = Resolved(
                position=task.position, kind=Kind.STEP, name=task.name, outcome=outcome, attempt=attempt
            )
            known = draw(st.sampled_from([0, head]))
            turn = Acquire(run_id=task.run_id, worker=own["worker"], after=known, generation=generation)
            asked = draw(st.sampled_from([None, turn, turn]))
            then = None if asked is None or draw(st.booleans()) else _turn(draw, asked, head, generation)
            return ResolveTask(
                worker=own["worker"],
                run_id=task.run_id,
                attempt=attempt,
                event=event,
                lets_none=task.spec is not None and task.spec.then is None,
                turn=asked,
                then=then,
            )
        case "fail":
            retry_at = draw(st.none() | st.just(now + timedelta(seconds=2)))
            failed = AttemptFailed(
                position=task.position,
                name=task.name,
                attempt=attempt,
                failure=_FAILURE,
                retry_at=retry_at,
            )
            return FailTask(worker=own["worker"], run_id=task.run_id, event=failed)
        case "open":
            return OpenTask(**own)
        case "give back":
            return Unclaim(**own)
        case "park":
            return ParkTask(**own, until=draw(st.none() | st.just(now + timedelta(seconds=4))))
        case "progress":
            return ReportProgress(**own, detail=b"5")
        case "complete":
            return CompleteTask(
                run_id=task.run_id,
                generation=generation + draw(st.sampled_from([0] * 5 + [1])),
                position=task.position,
                attempt=attempt,
                outcome=outcome,
                ring_after=draw(st.sampled_from([timedelta(0), timedelta(seconds=2)])),
            )
        case _:
            worker, known = draw(_WORKERS), draw(st.sampled_from([0, head]))
            turn = Acquire(run_id=task.run_id, worker=worker, after=known, generation=generation)
            return Claim(
                run_id=task.run_id,
                position=task.position,
                worker=worker,
                lease=_LEASE,
                may_take_over=draw(st.booleans()),
                turn=draw(st.sampled_from([None, turn])),
            )


def _turn(draw: Any, asked: Acquire, head: int, generation: int) -> Commit:
    """The whole of a turn that an outcome makes due, as somebody foresees it."""
    positions: list[str] = draw(st.lists(st.sampled_from(["2", "3"]), unique=True))
    return Commit(
        run_id=asked.run_id,
        worker=asked.worker,
        epoch=0,
        head=head + draw(st.sampled_from([1, 1, 1, 0, 2])),
        generation=generation,
        events=tuple(
            Scheduled(position=position, kind=Kind.STEP, name="s", queued=True) for position in positions
        ),
        tasks=tuple(new_task(position, **draw(st.sampled_from([{}, _AT_ONCE]))) for position in positions),
        release=Release(
            awaiting=draw(st.integers(0, 2)),
            keep_lost=draw(st.booleans()),
            note=draw(st.sampled_from([None, "it waits"])),
        ),
    )
