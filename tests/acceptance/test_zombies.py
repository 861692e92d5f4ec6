"""A worker that stood still beyond its lease comes back into a world that has gone on without it."""

from __future__ import annotations

import pytest

from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result


@pytest.mark.parametrize("queued", [False, True], ids=["inline", "queued"])
def test_what_a_frozen_worker_brings_late_is_refused(
    queued, store_url, redis_url, open_application, ledger, tmp_path
):
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    gate = tmp_path / "gate"
    zombie = workers.start(processes=1, threads=1)
    handle = application.durable.start(work.visit, "visit", str(gate), queued)
    workers.until(lambda: ledger.attempts("visit"), "the step has begun")

    zombie.freeze()
    successor = workers.start(processes=1, threads=2)
    taken_over = result(workers, handle)
    successor.kill()
    gate.touch()
    zombie.thaw()
    workers.until(lambda: "visit attempt 1 returns" in ledger.notes(), "the zombie's step returns")
    # One thread: what it does next comes after it has tried to record what the step gave.
    after = result(workers, application.durable.start(work.count, "after", 2))

    assert taken_over == "0 by attempt 2 1"
    assert after == 1
    assert ledger.notes() == ["visit attempt 2 returns", "visit attempt 1 returns"]
    assert result(workers, handle) == taken_over
    assert ledger.attempts("visit 1") == [1]
    assert zombie.running
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
