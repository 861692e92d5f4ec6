"""Lanes in real processes that freeze and die: one run at a time and in order, whoever works on it."""

from __future__ import annotations

import random
import secrets
from threading import Event

import pytest

from qwit_durable import Status
from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_KILLS = 2
_LANES = ("north", "south", "east")
_RUNS = 6


def test_a_frozen_head_is_taken_over_and_has_no_second_owner_when_it_thaws(
    store_url, redis_url, open_application, ledger, tmp_path
):
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    gate = tmp_path / "gate"
    in_lane = {"lane": "desk"}
    zombie = workers.start(processes=1, threads=1)
    first = application.durable.start(work.visit.options(**in_lane), "first", str(gate), queued=False)
    second = application.durable.start(work.count.options(**in_lane), "second", 2)
    other = application.durable.start(work.count.options(lane="other"), "other", 1)
    workers.until(lambda: ledger.attempts("first"), "the head's step has begun")

    zombie.freeze()
    successor = workers.start(processes=1, threads=2)
    beside = result(workers, other)
    taken_over = result(workers, first)
    followed = result(workers, second)
    successor.kill()
    gate.touch()
    zombie.thaw()
    workers.until(lambda: "first attempt 1 returns" in ledger.notes(), "the zombie's step returns")
    # One thread: what it does next comes after it has tried to record what the step gave.
    third = result(workers, application.durable.start(work.count.options(**in_lane), "third", 1))

    assert (beside, taken_over, followed, third) == (0, "0 by attempt 2 1", 1, 0)
    begun = [what for (what,) in ledger.rows("select what from attempt order by n") if "other" not in what]
    assert begun == ["first 0", "first", "first", "first 1", "second 0", "second 1", "third 0"]
    assert application.durable.reader.lane("default", "desk") is None
    assert zombie.running
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)


@pytest.mark.parametrize("place", ["postgres", "sqlite"])
def test_lanes_stay_in_order_while_their_workers_are_killed(
    place, request, redis_url, open_application, ledger, tmp_path
):
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    dice = random.Random(seed)
    url = request.getfixturevalue("store_url") if place == "postgres" else f"sqlite:///{tmp_path}/store.db"
    application, workers = open_application(APP_STORE=url, APP_REDIS=redis_url)
    group = workers.start()
    names = [(lane, f"{lane} {number:02}") for number in range(_RUNS) for lane in _LANES]
    handles = [application.durable.start(work.count.options(lane=lane), name, 2) for lane, name in names]

    for kill in range(_KILLS):
        wanted = min(ledger.count("attempt") + dice.randint(1, 12), 2 * len(names))
        workers.until(lambda wanted=wanted: ledger.count("attempt") >= wanted, f"work before kill {kill}")
        Event().wait(dice.random() * 0.02)
        group.kill()
        group = workers.start()

    assert [result(workers, handle) for handle in handles] == [1] * len(handles)
    assert {handle.status() for handle in handles} == {Status.COMPLETED}
    begun = [what for (what,) in ledger.rows("select what from attempt order by n")]
    for lane in _LANES:
        # Attempts may be repeated where a worker died; nothing goes back, and nothing overtakes.
        mine = [what for what in begun if what.startswith(lane)]
        assert mine == sorted(mine)
        assert sorted(set(mine)) == [
            f"{lane} {number:02} {step}" for number in range(_RUNS) for step in range(2)
        ]
        assert application.durable.reader.lane("default", lane) is None
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
