"""Workers: their lease, their end in good order, and what is done about the dead."""

from __future__ import annotations

from uuid import UUID

import attrs

from qwit_durable.clock import NEVER
from qwit_durable.stores.answers import Accepted, Refused, Rings
from qwit_durable.stores.kernel.queued import gone, unclaimed
from qwit_durable.stores.kernel.sweeping import LAST_RING
from qwit_durable.stores.kernel.waking import ask_for_turn, is_held, may_move, ring_for
from qwit_durable.stores.reasons import status_before
from qwit_durable.stores.rows import TURN, LiveRow, Ring, TaskRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Beat, Disown, Lead, Reap, Retire, WakeStuck

__all__ = ["beat", "disown", "lead", "reap", "retire", "wake_stuck"]

#: So many tasks, whose bells have ended with their process, are due at once for the next one. The rest can wait.
_UNHEARD = 5_000


def beat(session: Session, write: Beat) -> Accepted | Refused:
    """Write a worker's row anew, and grant or refuse the duty it asks for."""
    session.put_worker(attrs.evolve(write.worker, beat_at=session.now, expires_at=session.now + write.lease))
    return Accepted() if write.asks is None else lead(session, write.asks)


def retire(session: Session, write: Retire) -> Rings:
    """Free what a worker still holds, without burning an attempt, and remove it."""
    rings = _free(session, write.worker, burn=False)
    session.drop_worker(write.worker)
    if write.unheard is None:
        return Rings(rings=tuple(rings))
    for key in sorted(write.unheard | {(ring.run_id, ring.position) for ring in rings}):
        _hear_again(session, key)
    return Rings()


def _hear_again(session: Session, key: tuple[UUID, str]) -> None:
    """Let a task whose bell was lost be rung for at once, if it is ready and nobody is at it."""
    task = session.task(*key)
    if task is None or task.ready_at > session.now or task.ring_at == NEVER:
        return
    if task.position == TURN or not is_held(session, task.owner, may_take_over=True):
        session.put_task(attrs.evolve(task, ring_at=min(task.ring_at, session.now), rings=0))


def disown(session: Session, write: Disown) -> Rings:
    """Free what a worker owns by mistake; an attempt that may have begun counts as lost."""
    rings: list[Ring] = []
    before = session.now - write.older_than
    for run_id in sorted(write.runs):
        live = session.live(run_id)
        if live is not None and live.owner == write.worker and live.updated_at < before:
            rings.extend(_free_run(session, live, burn=True))
    for key in sorted(write.tasks):
        task = session.task(*key)
        is_mine = task is not None and task.owner == write.worker
        if task is not None and is_mine and task.claimed_at is not None and task.claimed_at < before:
            rings.append(_lose_task(session, task))
    return Rings(rings=tuple(rings))


def reap(session: Session, write: Reap) -> Rings:
    """Free what dead workers held; the attempts they were in are counted when the run or task is taken up again."""
    rings: list[Ring] = []
    alive: set[int] = set()
    for worker in session.workers():
        if session.is_alive(worker):
            alive.add(worker.id)
        else:
            rings.extend(_free(session, worker.id, burn=True))
            session.drop_worker(worker.id)
    if write.alone is not None and alive <= {write.alone}:
        for task in session.rung_tasks(session.now + LAST_RING, _UNHEARD):
            session.put_task(attrs.evolve(task, ring_at=session.now, rings=0))
    for run_id in sorted(write.orphans):
        live = session.live(run_id)
        if live is not None and live.owner is not None and session.worker(live.owner) is None:
            rings.extend(_free_run(session, live, burn=True))
    return Rings(rings=tuple(rings))


def _free(session: Session, worker: int, *, burn: bool) -> list[Ring]:
    rings: list[Ring] = []
    for live in session.lives_of(worker):
        rings.extend(_free_run(session, live, burn=burn))
    rings.extend(_free_task(session, task, burn=burn) for task in session.tasks_of(worker))
    return rings


def _free_run(session: Session, live: LiveRow, *, burn: bool) -> list[Ring]:
    freed = attrs.evolve(live, owner=None, begun=live.begun and burn, awaiting=0, updated_at=session.now)
    session.put_live(freed)
    return _turn_of(session, freed)


def _free_task(session: Session, task: TaskRow, *, burn: bool) -> Ring:
    # A dead owner stays named: whoever claims the task next learns that an attempt was lost.
    # An attempt that gave out a token is never made again under its number.
    burn = burn or task.opened == task.attempt or task.ended is not None
    session.put_task(
        attrs.evolve(task, ring_at=session.now, rings=0) if burn else unclaimed(task, session.now)
    )
    return ring_for(task)


def _lose_task(session: Session, task: TaskRow) -> Ring:
    # Its owner lives, so naming it would keep others away: whoever claims it decides whether there is another attempt.
    session.put_task(
        attrs.evolve(task, owner=None, ended=task.ended or gone(task), ring_at=session.now, rings=0)
    )
    return ring_for(task)


def _turn_of(session: Session, live: LiveRow) -> list[Ring]:
    run = session.run(live.run_id)
    if run is None or not may_move(live):
        return []
    return [ask_for_turn(session, run)]


def lead(session: Session, write: Lead) -> Accepted | Refused:
    """Grant or refuse a duty."""
    granted = session.lead(write.duty, write.worker, write.lease)
    return Accepted() if granted else Refused(reason="held")


def wake_stuck(session: Session, write: WakeStuck) -> Rings:
    """Ask for a turn of each run that is stuck over its code."""
    rings: list[Ring] = []
    for live in session.stuck_over_code(write.limit):
        was = status_before(live.reason)
        freed = attrs.evolve(live, status=was, reason=None, owner=None, begun=False, lost=0, awaiting=0)
        session.put_live(freed)
        rings.extend(_turn_of(session, freed))
    return Rings(rings=tuple(rings))
