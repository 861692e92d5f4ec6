# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Turns that are taken and given back in one write, by whoever has seen how a run stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs

from qwit_durable.core import SignalReceived, Status, Verb
from qwit_durable.stores.answers import Acquired, Committed, Fenced
from qwit_durable.stores.rows import TURN, LiveRow, OutcomeRow, RunRow, TimerRow
from qwit_durable.stores.writes import Acquire, Commit, FireTimers, Reap, Release, RingDue
from qwit_durable.testing.contract.stage import Hold, Stage, resolved, seconds, task

__all__ = ["Glances"]


def _asleep(stage: Stage) -> Hold:
    """A run that was held once, and sleeps for five seconds."""
    hold = stage.begin()
    timer = TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now() + seconds(5))
    hold.release(resolved("9"), timers=(timer,))
    return hold


def _awake(stage: Stage) -> Hold:
    """The same when it is to go on."""
    hold = _asleep(stage)
    stage.wait(5)
    stage.do(FireTimers())
    return hold


def _end(stage: Stage, run: RunRow, seen: LiveRow, *events: Any, worker: int = 7) -> Commit:
    return Commit(
        run_id=run.id,
        worker=worker,
        epoch=seen.epoch,
        head=seen.head,
        seen=seen,
        events=events,
        outcome=OutcomeRow(run_id=run.id, status=Status.COMPLETED, ended_at=stage.clock.now(), value=b"1"),
    )


def _rest(run: RunRow, seen: LiveRow, **parts: Any) -> Commit:
    release = Release(awaiting=2)
    return Commit(
        run_id=run.id, worker=7, epoch=seen.epoch, head=seen.head, seen=seen, release=release, **parts
    )


class Glances:
    """Nobody holds the run: the write is refused unless it stands as it was seen."""

    def test_a_glance_shows_what_acquiring_would_give_and_takes_nothing(self, stage: Stage) -> None:
        fresh, woken = stage.start().run, _awake(stage)
        lives, tasks = stage.live(woken.id), stage.tasks(woken.id)

        found = {one.run.id: one for one in stage.store.glance([(fresh.id, 0, 0), (woken.id, 0, 1)])}

        assert found in ({}, {run_id: found[run_id] for run_id in (fresh.id, woken.id) if run_id in found})
        assert not found or found[fresh.id] == Acquired(
            run=fresh, live=stage.live(fresh.id), events=(), now=stage.clock.now()
        )
        assert not found or found[woken.id].events == tuple(stage.events(woken.id)[1:])
        assert (stage.live(woken.id), stage.tasks(woken.id)) == (lives, tasks)

    def test_a_glance_leaves_out_all_that_has_to_be_held_or_is_not_due(self, stage: Stage) -> None:
        stage.beat(1)
        held, paused, asleep, lane = stage.begin(), stage.start().run, _asleep(stage), stage.join().run
        stage.operate(paused.id, Verb.PAUSE)
        parent = stage.begin()
        child = stage.child_of(parent, "0")
        parent.release(starts=(child,))
        lost = stage.begin(worker=2)
        stage.do(Reap())
        rung = stage.start().run
        for wait in (2, 4):
            stage.wait(wait)
            stage.do(RingDue())

        wanted = [held.id, paused.id, asleep.id, lane.id, child.id, lost.id, rung.id, UUID(int=0)]
        found = stage.store.glance([(run_id, 0, 0) for run_id in wanted])

        assert not found

    def test_a_long_history_is_left_to_those_who_hold_the_run(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(
            *[resolved(str(position)) for position in range(21)], release=Release(wake_at=stage.clock.now())
        )

        unknown = stage.store.glance([(hold.id, 0, 0)])
        known = stage.store.glance([(hold.id, 0, 20)])

        assert not unknown
        assert [len(one.events) for one in known] in ([], [1])

    def test_a_run_that_nobody_holds_ends_in_one_write(self, stage: Stage) -> None:
        hold = _awake(stage)
        seen = stage.live(hold.id)

        answer = stage.do(_end(stage, hold.run, seen, resolved("1")))

        assert isinstance(answer, Committed)
        assert answer.head == seen.head + 1
        outcome = stage.outcome(hold.id)
        assert (outcome.head, outcome.epoch, outcome.value) == (seen.head + 1, seen.epoch + 1, b"1")
        assert stage.events(hold.id)[-1] == resolved("1")
        assert stage.tasks(hold.id) == {}

    def test_a_run_that_nobody_holds_waits_again_in_one_write(self, stage: Stage) -> None:
        hold = _awake(stage)
        seen = stage.live(hold.id)
        timer = TimerRow(run_id=hold.id, position="1", fire_at=stage.clock.now() + seconds(5))

        answer = stage.do(_rest(hold.run, seen, timers=(timer,), tasks=(task("2"),)))

        assert isinstance(answer, Committed)
        live = stage.live(hold.id)
        assert (live.owner, live.begun, live.lost, live.awaiting) == (None, False, 0, 2)
        assert live.epoch == seen.epoch + 1
        assert [*stage.tasks(hold.id)] == ["2"]
        assert [found.position for found in stage.store.timers(hold.id)] == ["1"]

    def test_of_two_who_have_seen_the_same_one_wins(self, stage: Stage) -> None:
        ended, rested = _awake(stage), _awake(stage)
        ends = [_end(stage, ended.run, stage.live(ended.id), worker=worker) for worker in (7, 8)]
        rests = [_rest(rested.run, stage.live(rested.id))] * 2

        answers = [stage.do(write) for write in (*ends, *rests)]

        assert [type(answer) for answer in answers] == [Committed, Fenced, Committed, Fenced]

    def test_whatever_happens_after_the_look_refuses_the_write(self, stage: Stage) -> None:
        runs = [_awake(stage) for _ in range(4)]
        told, paused, held, gone = runs
        writes = [_end(stage, hold.run, stage.live(hold.id)) for hold in runs]
        stage.tell(told.id, SignalReceived(name="go", value=b"1"))
        stage.operate(paused.id, Verb.PAUSE)
        stage.hold(held.id, worker=3)
        stage.operate(gone.id, Verb.TERMINATE)

        answers = [*stage.store.apply(writes)]

        assert answers == [Fenced()] * 4
        assert TURN in stage.tasks(told.id)
        assert stage.live(held.id).owner == 3

    def test_what_was_never_to_be_begun_is_refused(self, stage: Stage) -> None:
        stage.beat(1)
        held, paused = stage.begin(), stage.start().run
        stage.operate(paused.id, Verb.PAUSE)
        lost = stage.begin(worker=2)
        stage.do(Reap())
        free = _awake(stage)
        ahead = attrs.evolve(stage.live(free.id), head=7)

        answers = [
            stage.do(_end(stage, hold.run, stage.live(hold.run.id)))
            for hold in (held, stage.do(Acquire(run_id=lost.id, worker=1)))
        ]
        answers += [stage.do(_end(stage, paused, stage.live(paused.id))), stage.do(_rest(free.run, ahead))]

        assert answers == [Fenced()] * 4
