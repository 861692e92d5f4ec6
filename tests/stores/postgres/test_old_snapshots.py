"""What a snapshot that somebody holds does to a run's steps: no dead version of a row can be removed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import SignalReceived
from qwit_durable.stores.answers import Committed, Conflict
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.postgres.hot.prepared import Prepared
from qwit_durable.stores.writes import Checkpoint
from qwit_durable.testing.contract.stage import Hold, Stage, resolved
from tests.stores.places import opened


@contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield


@pytest.fixture
def by_place(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each question asked of the server, whether it looked for live rows by their place."""
    asked: list[bool] = []
    ask = Prepared.ask

    def noting(prepared, questions, **how):
        asked.extend(b"ctid =" in sql for sql, _ in questions if b"set_config" not in sql)
        return ask(prepared, questions, **how)

    monkeypatch.setattr(Prepared, "ask", noting)
    return asked


def _step(hold: Hold, nth: int) -> None:
    assert isinstance(hold.commit(resolved(str(nth))), Committed)


def _until_by_place(hold: Hold, by_place: list[bool]) -> int:
    for nth in range(300):
        _step(hold, nth)
        if by_place[-1]:
            return nth + 1
    pytest.fail("300 steps, and each looked for its row by the key")


def test_few_steps_of_a_long_run_look_for_its_row_by_the_key(stage: Stage, url: str, by_place: list[bool]):
    hold = stage.begin()
    by_place.clear()

    with _old_snapshot(url):
        for nth in range(2000):
            _step(hold, nth)

    assert by_place.count(False) < 500
    assert by_place[1000:].count(False) < 150


def test_without_one_each_step_looks_by_the_key_which_removes_what_is_dead(
    stage: Stage, url: str, by_place: list[bool]
):
    hold = stage.begin()
    by_place.clear()

    for nth in range(500):
        _step(hold, nth)

    assert not any(by_place)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT pg_relation_size('qwit.live') / 8192").fetchone() == (1,)


def test_a_row_that_somebody_else_has_changed_is_found_all_the_same(
    stage: Stage, url: str, clock: ManualClock, by_place: list[bool]
):
    hold = stage.begin()

    with _old_snapshot(url):
        done = _until_by_place(hold, by_place)
        with opened(PostgresStore(url, clock=clock)) as other:
            Stage(other, clock).tell(hold.id, SignalReceived(name="go"))
        late = hold.commit(resolved(str(done)), head=done)
        by_place.clear()
        again = hold.commit(resolved(str(done)), head=done + 1)
        _step(hold, done + 1)

    assert isinstance(late, Conflict)
    assert isinstance(again, Committed)
    assert len(stage.store.history(hold.id)) == done + 3


def test_batches_find_rows_that_have_moved_and_rows_that_are_new(
    stage: Stage, store: PostgresStore, url: str, by_place: list[bool]
):
    hold = stage.begin()

    with _old_snapshot(url):
        _until_by_place(hold, by_place)
        by_place.clear()
        others = [stage.begin() for _ in range(3)]
        head = len(store.history(hold.id))
        writes = [
            Checkpoint(run_id=one.id, worker=1, epoch=1, head=at, events=(resolved("x"),))
            for one, at in ((others[0], 0), (hold, head), (others[1], 0), (others[2], 1))
        ]
        answers = store.apply(writes)

    assert [type(answer) for answer in answers] == [Committed, Committed, Committed, Conflict]
    assert any(by_place)
