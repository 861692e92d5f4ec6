# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""What a body lets others see, and what becomes of a run whose body begins anew."""

from __future__ import annotations

from collections.abc import Callable

from qwit_durable.core import Debt, DebtKind, OperatorActed, Restarted, SignalReceived, Verb
from qwit_durable.ids import child_id
from qwit_durable.stores.answers import Accepted, Committed, Conflict, Fenced
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import PublishedRow, TimerRow
from qwit_durable.stores.writes import FireTimers, ResolveTask
from qwit_durable.testing.contract.stage import Stage, resolved, seconds, task

__all__ = ["Generations"]

_RESTART = Restarted(
    args=b'["again"]',
    owed=(Debt(position="0", kind=DebtKind.UNDO, name="pack", args=b"[1]", result=b'"box"'),),
    signals=(SignalReceived(name="approved", value=b"1"),),
)


class Generations:
    """Published values stay until they are replaced; a restart keeps the run, and nothing of its history."""

    # -- published ---------------------------------------------------------------------------------------------

    def test_a_published_value_is_seen_by_other_processes_and_later_ones_take_its_place(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        hold = stage.begin()
        hold.committed(resolved("0"), published=(("share", b"0.1"), ("note", b'"packing"')))
        stage.wait(5)
        hold.committed(resolved("1"), published=(("share", b"0.9"),))

        found = another().published(hold.id)

        begun, now = stage.clock.now() - seconds(5), stage.clock.now()
        assert list(found) == [
            PublishedRow(run_id=hold.id, key="note", value=b'"packing"', at=begun),
            PublishedRow(run_id=hold.id, key="share", value=b"0.9", at=now),
        ]

    def test_a_value_published_twice_in_one_transition_is_the_last_one(self, stage: Stage) -> None:
        hold = stage.begin()

        hold.committed(published=(("share", b"1"), ("share", b"2")))

        assert [row.value for row in stage.store.published(hold.id)] == [b"2"]

    def test_a_transition_that_is_refused_publishes_nothing(self, stage: Stage) -> None:
        hold = stage.begin()
        stage.tell(hold.id, SignalReceived(name="go"))

        late = hold.commit(published=(("share", b"1"),))
        stranger = hold.commit(published=(("share", b"1"),), worker=99)

        assert isinstance(late, Conflict)
        assert stranger == Fenced()
        assert stage.store.published(hold.id) == []

    def test_published_values_are_each_runs_own_and_outlive_its_end(self, stage: Stage) -> None:
        one, other = stage.begin(), stage.begin()
        one.committed(published=(("share", b"1"),))
        one.end()

        assert [row.value for row in stage.store.published(one.id)] == [b"1"]
        assert stage.store.published(other.id) == []

    # -- a new generation --------------------------------------------------------------------------------------

    def test_a_restart_begins_a_history_with_what_came_along(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        hold = stage.begin()
        hold.committed(resolved("0"), resolved("1"))

        answer = hold.commit(restart=_RESTART, published=(("round", b"2"),))

        assert isinstance(answer, Committed)
        assert answer.head == 1
        store = another()
        assert [(one.number, one.event) for one in store.history(hold.id)] == [(1, _RESTART)]
        view = store.view(hold.id)
        assert view is not None
        assert (view.generation, view.run) == (1, hold.run)
        assert [row.value for row in store.published(hold.id)] == [b"2"]

    def test_the_holder_stays_and_goes_on_from_the_new_head(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(resolved("0"))
        hold.committed(restart=_RESTART)

        answer = hold.commit(resolved("0"), generation=1)

        assert isinstance(answer, Committed)
        assert stage.live(hold.id).owner == hold.worker
        assert stage.events(hold.id) == [_RESTART, resolved("0")]

    def test_a_restart_on_an_old_head_changes_nothing(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(resolved("0"))
        stage.tell(hold.id, SignalReceived(name="go"))

        late = hold.commit(restart=_RESTART)

        assert isinstance(late, Conflict)
        assert stage.events(hold.id) == [resolved("0"), SignalReceived(name="go")]
        assert stage.live(hold.id).generation == 0

    def test_what_stood_for_commands_is_gone_and_the_deadline_stays(self, stage: Stage) -> None:
        hold = stage.begin(deadline=seconds(60))
        timer = TimerRow(run_id=hold.id, position="1", fire_at=stage.clock.now() + seconds(5))
        hold.committed(tasks=(task("0"),), timers=(timer,))
        stage.claimed(hold.id, "0", worker=5)

        hold.committed(restart=_RESTART)

        assert stage.tasks(hold.id) == {}
        assert [found.kind for found in stage.store.timers(hold.id)] == ["deadline"]
        late = ResolveTask(worker=5, run_id=hold.id, attempt=1, event=resolved("0"))
        assert stage.do(late) == Fenced()
        stage.wait(60)
        stage.do(FireTimers())
        assert len(stage.events(hold.id)) == 2

    def test_whoever_knows_the_history_of_another_generation_gets_all_of_this_one(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(*(resolved(str(number)) for number in range(5)))
        hold.committed(restart=_RESTART)
        hold.release(resolved("0"), resolved("1"), generation=1)

        stale = stage.hold(hold.id, after=2, generation=0)
        stale.release()
        known = stage.hold(hold.id, after=2, generation=1)

        assert stale.acquired.events == (_RESTART, resolved("0"), resolved("1"))
        assert known.acquired.events == (resolved("1"),)
        assert known.acquired.live.generation == 1

    def test_a_signal_of_the_generation_before_is_not_taken_twice(self, stage: Stage) -> None:
        hold = stage.begin()
        signal = SignalReceived(name="approved", dedupe_id="click-1")
        stage.tell(hold.id, signal)
        hold.head = 1
        hold.committed(restart=_RESTART)

        again = stage.tell(hold.id, signal)

        assert again == Accepted(repeated=True)
        assert stage.events(hold.id) == [_RESTART]

    def test_a_verb_is_recorded_in_the_generation_in_which_it_came(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(restart=_RESTART)
        hold.release(generation=1)

        stage.operate(hold.id, Verb.PAUSE)

        assert stage.events(hold.id) == [_RESTART, OperatorActed(verb=Verb.PAUSE)]

    def test_sub_workflows_of_two_generations_are_two_runs(self, stage: Stage) -> None:
        hold = stage.begin()
        first = stage.child_of(hold, "0")
        hold.committed(starts=(first,))
        stage.hold(first.id, worker=2).end()
        hold.head = stage.live(hold.id).head
        hold.committed(restart=_RESTART)
        second_id = child_id(hold.id, 1, "0")
        second = stage.row(
            str(second_id), id=second_id, workflow="pack_all", parent_id=hold.id, parent_position="0",
            root_id=hold.id,
        )  # fmt: skip

        hold.committed(starts=(second,), generation=1)

        assert {view.run.id for view in stage.store.children(hold.id)} == {first.id, second.id}
