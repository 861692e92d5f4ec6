"""What the writes mean, row by row: written once, for every store.

`perform(session, write)` reads and writes rows through a `Session`, inside the store's transaction. It does no I/O of
its own, knows no SQL, and asks no clock but the session's.

Rules of the folder:

- A run's events are numbered under the lock of its live row, by whoever appends: the holder, a queued step's worker, a
  timer, a signal. The holder names the head it knows; if somebody else appended meanwhile, its transition is refused
  and it looks again. So no wake-up can be lost: what arrives while a run is held is seen before it is let go.
- A free run that has something to do has a turn task. Whoever appends to a free run puts one there.
- An attempt belongs to (worker, number). Whoever has lost it is answered `Fenced`, and nothing is written.
"""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

from qwit_durable.stores.answers import Answer
from qwit_durable.stores.kernel.completing import (
    complete_task,
    keep_secret,
    open_task,
    park_task,
    report_progress,
)
from qwit_durable.stores.kernel.outside import deliver
from qwit_durable.stores.kernel.pruning import prune
from qwit_durable.stores.kernel.queued import claim, fail_task, leave_task, resolve_task, unclaim
from qwit_durable.stores.kernel.schedules import drop_schedule, fire_schedule, put_schedule
from qwit_durable.stores.kernel.starting import start
from qwit_durable.stores.kernel.sweeping import fire_timers, ring_due
from qwit_durable.stores.kernel.turns import acquire, commit
from qwit_durable.stores.kernel.workers import beat, disown, lead, reap, retire, wake_stuck
from qwit_durable.stores.pruning import Prune
from qwit_durable.stores.schedules import DropSchedule, FireSchedule, PutSchedule
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import (
    Acquire,
    Beat,
    Checkpoint,
    Claim,
    Commit,
    CompleteTask,
    Deliver,
    Disown,
    FailTask,
    FireTimers,
    KeepSecret,
    Lead,
    LeaveTask,
    OpenTask,
    ParkTask,
    Reap,
    ReportProgress,
    ResolveTask,
    Retire,
    RingDue,
    Start,
    Unclaim,
    WakeStuck,
    Write,
)

__all__ = ["goes_alone", "may_wait", "perform", "touched"]

_ALONE = frozenset({RingDue, Beat, Lead, Reap, Disown, Retire, WakeStuck})


def perform(session: Session, write: Write) -> Answer:
    """Carry out one write in the session's transaction."""
    match write:
        case Start():
            return start(session, write)
        case PutSchedule():
            return put_schedule(session, write)
        case DropSchedule():
            return drop_schedule(session, write)
        case Prune():
            return prune(session, write)
        case FireSchedule():
            return fire_schedule(session, write)
        case Acquire():
            return acquire(session, write)
        case Checkpoint():
            return commit(session, write.as_commit())
        case Commit():
            return commit(session, write)
        case Claim():
            return claim(session, write)
        case ResolveTask():
            return resolve_task(session, write)
        case FailTask():
            return fail_task(session, write)
        case OpenTask():
            return open_task(session, write)
        case ParkTask():
            return park_task(session, write)
        case ReportProgress():
            return report_progress(session, write)
        case LeaveTask():
            return leave_task(session, write)
        case Unclaim():
            return unclaim(session, write)
        case CompleteTask():
            return complete_task(session, write)
        case KeepSecret():
            return keep_secret(session, write)
        case Deliver():
            return deliver(session, write)
        case FireTimers():
            return fire_timers(session, write)
        case RingDue():
            return ring_due(session, write)
        case Beat():
            return beat(session, write)
        case Retire():
            return retire(session, write)
        case Disown():
            return disown(session, write)
        case Reap():
            return reap(session, write)
        case Lead():
            return lead(session, write)
        case WakeStuck():
            return wake_stuck(session, write)
        case _:
            assert_never(write)


def may_wait(write: Write) -> bool:
    """Whether a write may wait for other processes, or take long: no checkpoint should wait with it."""
    return isinstance(write, Prune) or (isinstance(write, Start) and write.run.lane is not None)


def goes_alone(write: Write) -> bool:
    """Whether a write that keeps things moving locks what others chose: with theirs it might wait in a circle."""
    return type(write) in _ALONE or (isinstance(write, FireTimers) and write.run_id is None)


def touched(write: Write) -> tuple[UUID, ...]:
    """The runs whose live rows a write is known to need: a store may lock them first, in the order of their ids."""
    match write:
        case Checkpoint(run_id=run_id):
            return (run_id,)
        case Commit(run_id=run_id, report=report, reopens=reopens):
            others = tuple(r.run_id for r in reopens)
            return (run_id, *others) if report is None else (run_id, report.run_id, *others)
        case Acquire(run_id=run_id) | Claim(run_id=run_id) | Deliver(run_id=run_id):
            return (run_id,)
        case ResolveTask(run_id=run_id) | FailTask(run_id=run_id) | CompleteTask(run_id=run_id):
            return (run_id,)
        case OpenTask(run_id=run_id) | ParkTask(run_id=run_id) | ReportProgress(run_id=run_id):
            return (run_id,)
        case LeaveTask(run_id=run_id) | Unclaim(run_id=run_id):
            return (run_id,)
        case FireSchedule(cancels=UUID() as run_id):
            return (run_id,)
        case Disown(runs=runs, tasks=tasks):
            return (*runs, *(run_id for run_id, _ in tasks))
        case Retire(unheard=frozenset() as unheard):
            return tuple(run_id for run_id, _ in unheard)
        case Reap(orphans=orphans):
            return orphans
        case _:
            return ()
