"""What is special about lanes on a server: they are locked, and whoever waits for a lock keeps nobody else waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Committed, Started
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.pg import lanes
from qwit_durable.stores.writes import Checkpoint, Start
from qwit_durable.testing.contract.stage import NAMESPACE, Stage, resolved


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
