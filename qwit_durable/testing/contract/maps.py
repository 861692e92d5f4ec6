"""Maps: calls that are held back, let begin one by one, and settled as a whole."""

from __future__ import annotations

from datetime import timedelta

import attrs

from qwit_durable.core import Dropped, Kind, Resolved, SignalReceived
from qwit_durable.stores.answers import Accepted, Conflict, Refused
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import NewTask, Reap, Release, ResolveTask, RingDue
from qwit_durable.testing.contract.stage import Hold, Stage, failed, resolved, task

__all__ = ["Maps"]


class Maps:
    """A call is made once, in its turn, or dropped with the map."""

    def test_a_call_is_held_back_until_the_one_before_it_has_succeeded(self, stage: Stage) -> None:
        hold = _mapping(stage, calls=3, limit=1)

        assert stage.claim(hold.id, "0.1") == Refused(reason="early")
        stage.claimed(hold.id, "0.0", worker=5)
        answer = _resolve(stage, hold, "0.0")

        assert [ring.position for ring in answer.rings] == ["0.1"]
        assert stage.claimed(hold.id, "0.1", worker=5).attempt == 1
        assert stage.claim(hold.id, "0.2") == Refused(reason="early")

    def test_a_call_whose_predecessor_has_gone_already_is_not_held_back(self, stage: Stage) -> None:
        hold = _mapping(stage, calls=1, limit=1)
        stage.claimed(hold.id, "0.0", worker=5)
        _resolve(stage, hold, "0.0")
        again = stage.hold(hold.id)

        answer = again.release(tasks=(_call(1, 1),), awaiting=2)

        assert [ring.position for ring in answer.rings] == ["0.1"]

    def test_a_failure_lets_nothing_begin(self, stage: Stage) -> None:
        hold = _mapping(stage, calls=2, limit=1)
        stage.claimed(hold.id, "0.0", worker=5)
        event = failed("0.0", kind=Kind.MAP)

        stage.do(ResolveTask(worker=5, run_id=hold.id, attempt=1, event=event))

        assert stage.claim(hold.id, "0.1") == Refused(reason="early")

    def test_settling_drops_what_waits_tells_what_began_and_counts_what_is_under_way(
        self, stage: Stage
    ) -> None:
        stage.beat(5, 6)
        hold = _mapping(stage, calls=12, limit=3)
        stage.claimed(hold.id, "0.0", worker=5)
        stage.claimed(hold.id, "0.1", worker=6)
        stage.wait(5)
        stage.beat(5)
        stage.wait(6)
        stage.do(Reap())
        again = stage.hold(hold.id)

        answer = again.release(settle=(resolved("0", Dropped(), kind=Kind.MAP),))

        began, settled = answer.settled
        assert isinstance(began, Resolved)
        assert (began.position, began.outcome, began.attempt) == ("0.1", Dropped(begun=True), 1)
        assert settled == resolved("0", Dropped(begun=True, left=1), kind=Kind.MAP)
        assert list(stage.tasks(hold.id)) == ["0.0"]
        assert stage.tasks(hold.id)["0.0"].cancelled

    def test_settling_a_map_spares_other_commands(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(_call(0, 2), _call(1, 2), task("1"), task("00.1"), task("0")))
        again = stage.hold(hold.id)

        again.release(settle=(resolved("0", Dropped(), kind=Kind.MAP),))

        assert sorted(stage.tasks(hold.id)) == ["0", "00.1", "1"]

    def test_letting_go_does_not_mind_successes_and_counts_them(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=tuple(_call(index, 4) for index in range(3)))
        for position in ("0.0", "0.1"):
            stage.claimed(hold.id, position, worker=5)
        _resolve(stage, hold, "0.0")

        hold.release(awaiting=2)

        assert stage.live(hold.id).owner is None
        assert stage.live(hold.id).awaiting == 1
        assert TURN not in stage.tasks(hold.id)
        assert [ring.position for ring in _resolve(stage, hold, "0.1").rings] == [TURN]

    def test_letting_go_after_the_last_success_asks_for_a_turn(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(_call(0, 4),))
        stage.claimed(hold.id, "0.0", worker=5)
        _resolve(stage, hold, "0.0")

        answer = hold.release(awaiting=1)

        assert [ring.position for ring in answer.rings] == [TURN]

    def test_letting_go_minds_anything_else(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(_call(0, 4),))
        stage.tell(hold.id, SignalReceived(name="go"))

        assert hold.commit(release=Release(awaiting=1)) == Conflict(head=1)

    def test_a_quiet_call_is_rung_for_by_the_sweep_alone(self, stage: Stage) -> None:
        hold = stage.begin()
        answer = hold.release(tasks=(task("0.0"), task("0.1", quiet=timedelta(seconds=60))), awaiting=2)

        stage.wait(59)
        soon = stage.do(RingDue()).rings
        stage.wait(2)
        later = stage.do(RingDue()).rings

        assert [ring.position for ring in answer.rings] == ["0.0"]
        assert [ring.position for ring in soon] == ["0.0"]
        assert "0.1" in {ring.position for ring in later}
        assert stage.claimed(hold.id, "0.1", worker=5).attempt == 1

    def test_a_part_holds_whatever_came_and_is_told_what(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(_call(0, 4),))
        stage.claimed(hold.id, "0.0", worker=5)
        _resolve(stage, hold, "0.0")

        answer = hold.committed(resolved("1"), head=None, known=hold.head)

        assert answer.came == (resolved("0.0", kind=Kind.MAP),)
        assert stage.events(hold.id) == [resolved("0.0", kind=Kind.MAP), resolved("1")]


def _call(index: int, limit: int) -> NewTask:
    """One call, which lets the one `limit` further begin, and waits for the one `limit` before."""
    new = task(f"0.{index}")
    spec = attrs.evolve(new.spec, kind=Kind.MAP, then=f"0.{index + limit}")
    return attrs.evolve(new, spec=spec, after=f"0.{index - limit}" if index >= limit else None)


def _mapping(stage: Stage, calls: int, limit: int) -> Hold:
    """A run that waits for its map at "0"."""
    hold = stage.begin()
    hold.release(tasks=tuple(_call(index, limit) for index in range(calls)), awaiting=calls)
    return hold


def _resolve(stage: Stage, hold: Hold, position: str) -> Accepted:
    event = resolved(position, kind=Kind.MAP)
    answer = stage.do(ResolveTask(worker=5, run_id=hold.id, attempt=1, event=event))
    assert isinstance(answer, Accepted), answer
    return answer
