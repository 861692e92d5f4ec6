"""Runs that have ended are removed whole, and nothing else is."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from qwit_durable.core import SignalReceived, Status
from qwit_durable.ids import first_run_id
from qwit_durable.stores.pruning import Prune, Pruned
from qwit_durable.testing.contract.stage import NAMESPACE, Hold, Stage

__all__ = ["Pruning"]


class Pruning:
    """What is removed leaves nothing behind; what is open, young or in use stays."""

    def test_a_run_that_ended_is_removed_with_everything_of_it(self, stage: Stage) -> None:
        hold = stage.begin(key="old")
        stage.tell(hold.id, SignalReceived(name="go", value=b"1", dedupe_id="one"))
        hold.head = None  # whatever came meanwhile
        hold.committed(published=(("rows", b"1"),))
        hold.end()
        stage.wait(10)

        answer, again = _prune(stage, hold.id, "old"), _prune(stage, hold.id, "old")

        assert (answer, again) == (Pruned(roots=1, runs=1), Pruned())
        assert stage.store.view(hold.id) is None
        assert stage.store.find(NAMESPACE, "old") is None
        assert list(stage.store.history(hold.id)) == []
        assert list(stage.store.published(hold.id)) == []
        assert stage.start("old").created

    def test_sub_workflows_go_with_their_root_and_never_without_it(self, stage: Stage) -> None:
        hold, child, grandchild = _family(stage)
        _end(grandchild, child, hold)
        stage.wait(10)

        below = _prune(stage, child.id, str(child.id))
        answer = _prune(stage, hold.id, hold.run.key)

        assert (below, answer) == (Pruned(), Pruned(roots=1, runs=3))
        assert [stage.store.view(one.id) for one in (hold, child, grandchild)] == [None] * 3

    def test_a_tree_larger_than_the_limit_goes_in_parts_and_its_root_last(self, stage: Stage) -> None:
        hold, child, grandchild = _family(stage)
        _end(grandchild, child, hold)
        stage.wait(10)

        first, second, third = (_prune(stage, hold.id, hold.run.key, limit=1) for _ in range(3))

        assert (first, second) == (Pruned(runs=1, more=True), Pruned(runs=1, more=True))
        assert third == Pruned(roots=1, runs=1)

    def test_an_open_run_stays_and_so_does_a_tree_with_one(self, stage: Stage) -> None:
        hold, child, _ = _family(stage)
        _end(child, hold)
        still_open = stage.begin(key="open")
        stage.wait(10)

        answers = [_prune(stage, hold.id, hold.run.key), _prune(stage, still_open.id, "open")]

        assert answers == [Pruned(), Pruned()]
        assert stage.store.view(hold.id) is not None

    def test_many_trees_go_at_once_and_those_in_use_stay(self, stage: Stage) -> None:
        families = [_family(stage) for _ in range(3)]
        for hold, child, grandchild in families:
            _end(child, hold) if hold is families[1][0] else _end(grandchild, child, hold)
        stage.wait(10)
        roots = tuple((hold.id, hold.run.key) for hold, *_ in families)

        answer = stage.do(Prune(namespace=NAMESPACE, roots=roots, ended_before=stage.clock.now()))

        assert answer == Pruned(roots=2, runs=6)
        found = [stage.store.view(one.id) is not None for family in families for one in family]
        assert found == [False] * 3 + [True] * 3 + [False] * 3

    def test_a_run_that_ended_too_late_stays(self, stage: Stage) -> None:
        hold = stage.begin(key="young")
        hold.end()

        answer = _prune(stage, hold.id, "young")

        assert answer == Pruned()
        assert stage.store.find(NAMESPACE, "young") is not None

    def test_an_id_that_stands_for_a_newer_run_goes_on_to_do_so(self, stage: Stage) -> None:
        old = stage.begin(key="order")
        old.end()
        stage.wait(10)
        newer = stage.start("order", on_conflict="replace")

        answer = _prune(stage, old.id, "order")

        found = stage.store.find(NAMESPACE, "order")
        assert answer == Pruned(roots=1, runs=1)
        assert found is not None
        assert found.run.id == newer.run.id
        assert not stage.start("order").created

    def test_runs_of_a_time_are_found_in_order_and_in_pages(self, stage: Stage) -> None:
        begin, holds = stage.clock.now(), list[Hold]()
        for number in range(3):
            holds.append(stage.begin(key=f"run {number}"))
            stage.wait(1)
        holds[0].end(status=Status.FAILED)
        until = first_run_id(stage.clock.now())

        first = stage.store.aged(None, until, 2)
        rest = stage.store.aged(first[-1].id, until, 2)

        assert [one.key for one in (*first, *rest)] == ["run 0", "run 1", "run 2"]
        assert [(one.status, one.ended_at) for one in first] == [
            (Status.FAILED, stage.clock.now()),
            (None, None),
        ]
        assert list(stage.store.aged(None, first_run_id(begin), 9)) == []


def _end(*holds: Hold) -> None:
    for one in holds:
        one.head = None  # what those below have told is known
        one.end()


def _family(stage: Stage) -> tuple[Hold, Hold, Hold]:
    hold = stage.begin()
    child_row = stage.child_of(hold, "0")
    hold.committed(starts=(child_row,))
    child = stage.hold(child_row.id)
    grandchild_row = stage.child_of(child, "0")
    child.committed(starts=(grandchild_row,))
    return hold, child, stage.hold(grandchild_row.id)


def _prune(stage: Stage, run_id: UUID, key: str, **options: Any) -> Any:
    before: datetime = stage.clock.now()
    return stage.do(Prune(namespace=NAMESPACE, roots=((run_id, key),), ended_before=before, **options))
