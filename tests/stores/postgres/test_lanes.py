"""What is special about lanes on a server: they are locked, and whoever waits for a lock keeps nobody else waiting."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import psycopg
import pytest

from qwit_durable.core import SignalReceived, Status, Verb
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Committed, Started
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.postgres import PostgresStore, hot, lanes
from qwit_durable.stores.rows import OutcomeRow
from qwit_durable.stores.writes import Checkpoint, Commit, Start
from qwit_durable.testing.contract.stage import NAMESPACE, Hold, Stage, resolved

_WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"


def _ending(hold: Hold, *, takes_next: bool = False) -> Commit:
    outcome = OutcomeRow(run_id=hold.id, status=Status.COMPLETED, ended_at=hold.stage.clock.now())
    return Commit(run_id=hold.id, worker=1, epoch=hold.epoch, head=0, outcome=outcome, takes_next=takes_next)


def _no_kernel(*_: object) -> None:
    raise AssertionError("the kernel was asked")


@pytest.fixture
def stopped(url: str) -> Iterator[psycopg.Connection]:
    """A process that stands still in the middle of a transaction, with a lane locked."""
    with psycopg.connect(url) as connection:
        connection.execute(lanes.LOCK, [[lanes.lock_of((NAMESPACE, "left"), b"qwit-lane")]])
        yield connection
        connection.rollback()


def test_a_start_that_waits_for_its_lane_keeps_no_checkpoint_waiting(
    stage: Stage, stopped: psycopg.Connection
) -> None:
    committer = Committer(stage.store)
    hold = stage.begin()
    started: list[object] = []
    start = Start(run=stage.row(lane="left"))
    waiting = threading.Thread(target=lambda: started.append(committer.write(start)))
    waiting.start()

    checkpoint = Checkpoint(
        run_id=hold.id, worker=1, epoch=hold.epoch, head=0, events=(resolved("0"), resolved("1"))
    )
    written = committer.write(checkpoint)
    other = committer.write(Start(run=stage.row()))
    meanwhile = list(started)
    stopped.rollback()
    waiting.join(30)

    assert isinstance(written, Committed)
    assert isinstance(other, Started)
    assert meanwhile == []
    assert isinstance(started[0], Started)


def test_whoever_waits_too_long_for_a_lane_gives_up_and_may_ask_again(
    stage: Stage, stopped: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LOCK_PATIENCE", "50ms")
    start = Start(run=stage.row(lane="left"))

    with pytest.raises(StoreUnavailable, match="It may be repeated"):
        stage.store.apply([start])
    stopped.rollback()
    repeated = stage.store.apply([start])[0]

    assert isinstance(repeated, Started)
    assert repeated.created


def test_ends_in_lanes_mean_what_the_kernel_says_in_one_batch_too(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    def play(*, is_hot: bool) -> str:
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        lanes = [stage.queue(3, f"{name}-{is_hot}") for name in "abcdefgh"]
        _, owed, last, paused, told, mailed, stale, grown = lanes
        stage.operate(last[1], Verb.TERMINATE)
        stage.operate(last[2], Verb.TERMINATE)
        stage.operate(paused[1], Verb.PAUSE)
        stage.tell(told[1], SignalReceived(name="go", value=b"1"))
        stage.operate(mailed[1], Verb.TERMINATE)
        stage.operate(mailed[2], Verb.TERMINATE)
        mailed[1:] = [stage.start(row=stage.row(lane=f"f-{is_hot}", queue="mailing")).run.id]
        heads = [stage.hold(runs[0]) for runs in lanes]
        stage.tell(grown[0], SignalReceived(name="go", value=b"1"))
        writes = [
            attrs.evolve(_ending(hold), takes_next=hold.id != owed[0], epoch=7 if hold.id == stale[0] else 1)
            for hold in heads
        ]
        writes[0] = attrs.evolve(writes[0], events=(resolved("0"), resolved("1")))
        answers = store.apply(writes)
        ids = [run_id for runs in lanes for run_id in runs]
        rows = [(store.view(run_id), list(store.history(run_id)), store.tasks(run_id)) for run_id in ids]
        places = [(store.lane(NAMESPACE, f"{name}-{is_hot}"), name) for name in "abcdefgh"]
        text = repr((answers, rows, [store.before(run_id) for run_id in ids], places))
        for nth, run_id in enumerate(ids):
            text = text.replace(str(run_id), f"run {nth}")
        return re.sub(r"datetime\.datetime\([^)]*\)|-(True|False)\b", "", text)

    assert play(is_hot=True) == play(is_hot=False)


def test_the_end_of_a_head_is_one_statement_and_one_round_trip(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    first, second, _ = stage.queue(3)
    hold = stage.hold(first)
    monkeypatch.setattr(PostgresStore, "_transact", _no_kernel)

    taken: Any = store.apply([_ending(hold, takes_next=True)])[0]
    owed: Any = store.apply([_ending(Hold(stage, taken.acquired, 1))])[0]

    assert taken.acquired.run.id == second
    assert len(owed.rings) == 1


def test_a_next_run_that_somebody_is_at_is_waited_for_by_nobody(stage: Stage, store: PostgresStore, url: str):
    first, second = stage.queue(2)
    hold = stage.hold(first)

    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM qwit.live WHERE run_id = %s FOR UPDATE", [second])
        ended: Any = store.apply([_ending(hold, takes_next=True)])[0]

    assert ended.acquired is None
    assert [ring.run_id for ring in ended.rings] == [second]
    stage.hold(second)


def test_a_lane_that_somebody_is_at_is_waited_for_and_seen_as_they_leave_it(
    stage: Stage, store: PostgresStore, url: str
):
    first, second = stage.queue(2)
    hold = stage.hold(first)
    ended: list[Any] = []
    ending = threading.Thread(target=lambda: ended.extend(store.apply([_ending(hold, takes_next=True)])))

    with psycopg.connect(url) as connection, psycopg.connect(url, autocommit=True) as watching:
        connection.execute(lanes.LOCK, [[lanes.lock_of((NAMESPACE, "left"), b"qwit-lane")]])
        connection.execute("DELETE FROM qwit.place WHERE run_id = %s", [second])
        connection.execute("UPDATE qwit.lane SET waiting = waiting - 1")
        ending.start()
        while not watching.execute(_WAITING).fetchone():
            assert ending.is_alive()
        connection.commit()
    ending.join(30)

    assert ended[0].acquired is None
    assert ended[0].rings == ()
    assert stage.store.lane(NAMESPACE, "left") is None
