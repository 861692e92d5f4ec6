"""What readers see."""

from __future__ import annotations

from uuid import UUID

import attrs
import pytest

from qwit_durable.core import Status
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.rows import InHand, RunView, TimerRow
from qwit_durable.testing.contract.stage import BROKEN, NAMESPACE, Stage, resolved, seconds, task

__all__ = ["Reading"]


class Reading:
    """Reads are consistent, paged, and find what they are asked for."""

    def test_what_is_not_there_is_not_found(self, stage: Stage) -> None:
        nobody = UUID(int=0)

        assert stage.store.find(NAMESPACE, "order-1") is None
        assert stage.store.find(NAMESPACE, str(nobody)) is None
        assert stage.store.view(nobody) is None
        assert list(stage.store.history(nobody)) == []
        assert list(stage.store.tasks(nobody)) == []
        assert stage.store.counts(NAMESPACE) == {}
        assert list(stage.store.runs(RunQuery(namespace=NAMESPACE))) == []

    def test_a_run_is_found_by_its_key_and_by_its_uuid_in_its_namespace(self, stage: Stage) -> None:
        run = stage.start("order-1").run

        found = [
            stage.store.find(NAMESPACE, "order-1"),
            stage.store.find(NAMESPACE, str(run.id)),
            stage.store.find("elsewhere", "order-1"),
            stage.store.find("elsewhere", str(run.id)),
        ]

        assert [view.run.id if view is not None else None for view in found] == [run.id, run.id, None, None]

    def test_a_view_has_a_live_row_or_an_outcome(self, stage: Stage) -> None:
        hold = stage.begin()
        before = stage.store.view(hold.id)
        hold.end(status=Status.FAILED, failure=BROKEN, value=None)
        after = stage.store.view(hold.id)

        assert before is not None
        assert after is not None
        assert (before.outcome, before.status) == (None, Status.RUNNING)
        assert (after.live, after.status) == (None, Status.FAILED)
        assert after.outcome is not None
        assert after.outcome.failure == BROKEN

    def test_what_each_worker_has_in_hand_is_counted(self, stage: Stage) -> None:
        begin = stage.clock.now()
        hold = stage.begin(worker=1)
        hold.release(tasks=(task("0"), task("1")))
        stage.wait(1)
        stage.begin(worker=1)
        stage.begin(worker=2).end()
        stage.start()
        before = stage.store.in_hand()
        stage.wait(1)

        stage.claimed(hold.id, "0", worker=3)
        stage.begin(worker=3)
        stage.wait(1)
        stage.begin(worker=3)

        assert before == {1: InHand(runs=1, since=begin + seconds(1))}
        assert stage.store.in_hand() == {**before, 3: InHand(runs=2, attempts=1, since=begin + seconds(2))}

    def test_runs_are_listed_newest_first_in_pages(self, stage: Stage) -> None:
        ids: list[UUID] = []
        for _ in range(5):
            ids.append(stage.start().run.id)
            stage.wait(1)
        pages: list[list[UUID]] = []

        before = None
        while views := stage.store.runs(RunQuery(namespace=NAMESPACE, before=before, limit=2)):
            pages.append([view.run.id for view in views])
            before = views[-1].run.id

        assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]

    def test_runs_are_listed_by_status_workflow_and_namespace(self, stage: Stage) -> None:
        running = stage.begin()
        completed, failed = stage.begin(), stage.begin()
        completed.end()
        failed.end(status=Status.FAILED, failure=BROKEN)
        other = stage.start(row=stage.row(workflow="bill")).run
        foreign = stage.start(row=stage.row(namespace="elsewhere")).run

        assert _listed(stage, statuses=(Status.RUNNING,)) == {running.id, other.id}
        assert _listed(stage, statuses=(Status.FAILED, Status.COMPLETED)) == {completed.id, failed.id}
        assert _listed(stage, statuses=(Status.FAILED, Status.RUNNING)) == {running.id, failed.id, other.id}
        assert _listed(stage, workflow="bill") == {other.id}
        assert foreign.id not in _listed(stage)

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"tenant": "acme"}, {"a", "b"}),
            ({"tries": 1}, {"a"}),
            ({"tries": True}, {"b"}),
            ({"share": 0.5}, {"a"}),
            ({"tenant": "acme", "vip": False}, {"a"}),
            ({"tenant": "1"}, set[str]()),
            ({"no such": "acme"}, set[str]()),
            ({'odd"name.$': "x'y"}, {"c"}),
        ],
    )
    def test_runs_are_listed_by_their_attributes(
        self, stage: Stage, wanted: dict[str, str | int | float | bool], found: set[str]
    ) -> None:
        stage.start(row=stage.row("a", attributes={"tenant": "acme", "tries": 1, "share": 0.5, "vip": False}))
        stage.start(row=stage.row("b", attributes={"tenant": "acme", "tries": True}))
        stage.start(row=stage.row("c", attributes={'odd"name.$': "x'y"}))
        stage.start(row=stage.row("d", attributes={}))

        views = stage.store.runs(RunQuery(namespace=NAMESPACE, attributes=wanted))

        assert {view.run.key for view in views} == found

    def test_sub_workflows_can_be_left_out_of_a_list(self, stage: Stage) -> None:
        hold = stage.begin()
        children = [stage.child_of(hold, str(position)) for position in range(3)]
        hold.committed(starts=tuple(children))

        assert _listed(stage, roots_only=True) == {hold.id}
        assert _listed(stage) == {hold.id, *(child.id for child in children)}
        assert {view.run.id for view in stage.store.children(hold.id)} == {child.id for child in children}

    def test_runs_are_listed_by_the_version_of_the_code_that_started_them(self, stage: Stage) -> None:
        old, new = stage.start(row=stage.row(version="1")).run, stage.start(row=stage.row(version="2")).run
        stage.start(row=stage.row(version=None))

        found = {label: _listed(stage, version=label) for label in ("1", "2", "3")}

        assert found == {"1": {old.id}, "2": {new.id}, "3": set[UUID]()}

    def test_the_ids_that_users_see_are_read_at_once(self, stage: Stage) -> None:
        named, other = stage.start("order-17").run, stage.start().run

        assert stage.store.keys([named.id, other.id, UUID(int=0)]) == {
            named.id: "order-17",
            other.id: str(other.id),
        }
        assert stage.store.keys([]) == {}

    def test_counts_are_by_status_and_namespace(self, stage: Stage) -> None:
        stage.begin().end()
        stage.begin().end()
        stage.begin()
        stage.start(delay=seconds(5))
        stage.start(row=stage.row(namespace="elsewhere"))

        assert stage.store.counts(NAMESPACE) == {Status.COMPLETED: 2, Status.RUNNING: 1, Status.SCHEDULED: 1}
        assert stage.store.counts(NAMESPACE, ended=False) == {Status.RUNNING: 1, Status.SCHEDULED: 1}

    def test_open_runs_and_those_that_went_wrong_are_listed_together(self, stage: Stage) -> None:
        ids: list[UUID] = []
        for status in (Status.FAILED, None, Status.COMPLETED, Status.CANCELLED, None, Status.FAILED):
            hold = stage.begin()
            if status is not None:
                hold.end(status=status)
            ids.append(hold.id)
            stage.wait(1)
        wanted = RunQuery(namespace=NAMESPACE, statuses=(Status.FAILED, Status.RUNNING), limit=3)

        first = [view.run.id for view in stage.store.runs(wanted)]
        rest = [view.run.id for view in stage.store.runs(attrs.evolve(wanted, before=first[-1]))]

        assert (first, rest) == ([ids[5], ids[4], ids[1]], [ids[0]])

    def test_tasks_are_listed_by_position_and_timers_by_time(self, stage: Stage) -> None:
        hold = stage.begin()
        timers = [
            TimerRow(run_id=hold.id, position=position, fire_at=stage.clock.now() + seconds(after))
            for position, after in (("a", 3), ("b", 1), ("c", 2))
        ]
        hold.committed(tasks=(task("1"), task("0.1"), task("0")), timers=tuple(timers))

        assert [row.position for row in stage.store.tasks(hold.id)] == ["0", "0.1", "1"]
        assert [row.position for row in stage.store.timers(hold.id)] == ["b", "c", "a"]

    def test_a_large_value_and_any_text_come_back(self, stage: Stage) -> None:
        big = b'"%s"' % (b"x" * 1_000_000)
        odd = resolved("0", name="größe 🎁 'quoted' \\ %s ?", args='["ü\u2028"]'.encode())
        hold = stage.begin()

        hold.committed(odd)
        hold.end(resolved("1"), value=big)

        assert stage.events(hold.id)[0] == odd
        assert stage.outcome(hold.id).value == big

    def test_the_stores_time_is_the_clocks(self, stage: Stage) -> None:
        stage.wait(42)

        assert stage.store.now() == stage.clock.now()


def _listed(stage: Stage, **query: object) -> set[UUID]:
    views: list[RunView] = list(stage.store.runs(RunQuery(namespace=NAMESPACE, **query)))  # type: ignore[arg-type]
    return {view.run.id for view in views}
