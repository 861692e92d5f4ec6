"""Lanes: who is at the head, who waits, and who is next.

Rules:

- A lane exists while a run is in it. Its head holds it from the moment it gets there until it has ended, whatever
  happens to it: retries, a deadline, a pause, `stuck`, unwinding.
- A run takes its place when it is started, or when it is due if that is later. Places are given in order and never
  change; a run that is cancelled, or whose deadline passes, while it waits gives its place up at once.
- A lane is changed under its own lock, which is taken after all live rows. So whoever ends a head makes the next one
  head without waiting for that run's live row: it owes that run a turn, and the run begins where it is acquired. Until
  then it is `scheduled`. (If it is paused by then, it is the head all the same, and begins when it is resumed.) Where
  nobody else is at that row, whoever ends the head may have the turn with it.
- A head leaves its lane only under the lock of its own live row. So whoever holds that row may trust an unlocked look
  at who is the head.

Each of these costs the same however many lanes there are and however many runs wait: a lane's row knows how many that
is, and the next one is looked for behind the head's number.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from qwit_durable.core import Status
from qwit_durable.stores.lanes import LaneKey
from qwit_durable.stores.reasons import status_before
from qwit_durable.stores.rows import LaneRow, LiveRow, PlaceRow, RunRow
from qwit_durable.stores.session import Session

__all__ = [
    "START_TIMER",
    "enter_lane",
    "give_up_place",
    "has_place",
    "is_head",
    "is_yet_to_begin",
    "leave_lane",
    "lock_lanes",
]

#: The timer of a run that is not due yet; when it fires, the run takes its place.
START_TIMER = "start"


def _key(run: RunRow) -> LaneKey | None:
    return None if run.lane is None else (run.namespace, run.lane)


def lock_lanes(session: Session, runs: Iterable[RunRow | None]) -> None:
    """Lock the lanes of several runs at once, in order: one by one, two who do so could wait for each other."""
    session.lanes.lock(key for run in runs if run is not None and (key := _key(run)) is not None)


def enter_lane(session: Session, run: RunRow) -> bool:
    """Take a place for a run that is due; answer whether it may begin: it is the head, or asks for no lane."""
    key = _key(run)
    if key is None:
        return True
    lane = session.lanes.get(key)
    if lane is None:
        session.lanes.put(LaneRow(namespace=key[0], lane=key[1], head=run.id, since=session.now))
        return True
    lane = attrs.evolve(lane, last=lane.last + 1, waiting=lane.waiting + 1)
    session.lanes.put(lane)
    session.lanes.put_place(PlaceRow(run_id=run.id, namespace=key[0], lane=key[1], number=lane.last))
    return False


def leave_lane(session: Session, run: RunRow) -> RunRow | None:
    """Take a run that has ended out of its lane; if it was the head, answer the next one, who is to be given a turn."""
    key = _key(run)
    lane = session.lanes.get(key) if key is not None else None
    if key is None or lane is None:
        return None
    if lane.head != run.id:
        _drop_place(session, lane, run)
        return None
    if not lane.waiting:
        session.lanes.drop(key)
        return None
    place = session.lanes.next_place(lane)
    session.lanes.drop_place(place)
    session.lanes.put(
        attrs.evolve(
            lane, head=place.run_id, number=place.number, waiting=lane.waiting - 1, since=session.now
        )
    )
    following = session.run(place.run_id)
    assert following is not None
    return following


def give_up_place(session: Session, live: LiveRow) -> None:
    """Let a run that is to end before it has begun wait for nothing; a head stays one until it has ended."""
    if not is_yet_to_begin(live):
        return
    session.drop_timer(live.run_id, START_TIMER)
    run = session.run(live.run_id)
    key = _key(run) if run is not None else None
    lane = session.lanes.get(key) if key is not None else None
    if run is not None and lane is not None and lane.head != run.id:
        _drop_place(session, lane, run)


def is_yet_to_begin(live: LiveRow) -> bool:
    """Whether a run waits for its time or its lane, or did when it was paused."""
    was = status_before(live.reason) if live.status is Status.PAUSED else live.status
    return was is Status.SCHEDULED


def _drop_place(session: Session, lane: LaneRow, run: RunRow) -> None:
    place = session.lanes.place(run.id)
    if place is not None:  # otherwise it was never due, or has given it up before
        session.lanes.drop_place(place)
        session.lanes.put(attrs.evolve(lane, waiting=lane.waiting - 1))


def is_head(session: Session, run: RunRow) -> bool:
    """Whether a run, whose live row is locked, is the head of its lane."""
    key = _key(run)
    return key is not None and session.lanes.head(key) == run.id


def has_place(session: Session, run: RunRow) -> bool:
    """Whether a run waits in its lane."""
    return run.lane is not None and session.lanes.place(run.id) is not None
