"""Starting runs: roots under a user's id, and sub-workflows under an id derived from their parent's."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import attrs

from qwit_durable.clock import later
from qwit_durable.core import Status
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.answers import Acquired, Started
from qwit_durable.stores.kernel.lanes import START_TIMER, enter_lane
from qwit_durable.stores.kernel.waking import RING_GRACE, ask_for_turn
from qwit_durable.stores.rows import TURN, LiveRow, Ring, RunRow, TimerRow
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Start

__all__ = ["DEADLINE_TIMER", "begun", "open_run", "start"]

#: The timer that belongs to the run itself and not to a command, beside `START_TIMER`.
DEADLINE_TIMER = "deadline"


def start(session: Session, write: Start) -> Started:
    """Start a run, or answer the one that stands under its key."""
    row = write.run
    existing_id = _standing(session, row)
    if existing_id is not None:
        existing = session.run(existing_id)
        outcome = session.outcome(existing_id)
        if existing is not None and not (write.on_conflict == "replace" and outcome is not None):
            live = session.live(existing_id)
            status = (
                outcome.status if outcome is not None else live.status if live is not None else Status.RUNNING
            )
            return Started(run=existing, created=False, status=status)
    now = session.now
    row = attrs.evolve(
        row,
        created_at=now,
        start_at=row.start_at if write.delay is None else later(now, write.delay),
        deadline_at=row.deadline_at if write.deadline is None else later(now, write.deadline),
    )
    if not row.names_itself:
        session.put_key(row.namespace, row.key, row.id)
    ring = open_run(session, row, ring_after=write.ring_after, within=write.within)
    if ring is not None and write.holder is not None:
        started = begun(row, write.holder, now)
        assert started.acquired is not None
        session.put_live(started.acquired.live)
        session.drop_task(row.id, TURN)
        return started
    status = Status.RUNNING if ring is not None else Status.SCHEDULED
    return Started(run=row, created=True, status=status, ring=ring)


def begun(row: RunRow, holder: int, now: datetime) -> Started:
    """What whoever starts a run is answered if the first turn is its own."""
    live = LiveRow(
        run_id=row.id, status=Status.RUNNING, updated_at=now, awaiting=0, owner=holder, epoch=1, begun=True
    )
    acquired = Acquired(run=row, live=live, events=(), now=now)
    return Started(run=row, created=True, status=Status.RUNNING, acquired=acquired)


def _standing(session: Session, row: RunRow) -> UUID | None:
    """The run that stands under this one's key.

    A run whose id nobody chose stands under it without a row that says so: that spares each such start a row, an index
    entry and a lock. Only the same start, repeated, or a user who gives that UUID as an id can meet it.
    """
    if row.names_itself:
        return row.id if session.run(row.id) is not None else None
    found, spelled = session.run_of_key(row.namespace, row.key), parse_run_id(row.key)
    if found is not None or spelled is None:
        return found
    run = session.run(spelled)
    is_it = (
        run is not None and run.key == row.key and run.namespace == row.namespace and run.parent_id is None
    )
    is_there = is_it and (session.live(spelled) or session.outcome(spelled)) is not None
    return spelled if is_there else None


def open_run(
    session: Session, row: RunRow, *, ring_after: timedelta = RING_GRACE, within: bool = False
) -> Ring | None:
    """Insert a run's rows and answer the bell for its first turn, or None if it is not due yet or waits in its lane."""
    session.add_run(row)
    if row.deadline_at is not None:
        session.put_timer(
            TimerRow(run_id=row.id, position=DEADLINE_TIMER, fire_at=row.deadline_at, kind="deadline"),
        )
    is_due = (row.start_at is None or row.start_at <= session.now) and not (within and row.lane is not None)
    begins = is_due and enter_lane(session, row)
    status = Status.RUNNING if begins else Status.SCHEDULED
    session.put_live(LiveRow(run_id=row.id, status=status, updated_at=session.now, awaiting=0))
    if begins:
        return ask_for_turn(session, row, grace=ring_after, is_owed_none=True)
    if not is_due:
        due_at = row.start_at or session.now
        session.put_timer(TimerRow(run_id=row.id, position=START_TIMER, fire_at=due_at, kind="wake"))
    return None
