"""A step that kills its worker each time is not attempted for ever."""

from __future__ import annotations

import pytest

from qwit_durable import Status
from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, most_lost, result

#: What a run may lose that did nothing wrong: a start beside a poison that is not known yet, and one more by bad luck.
_MOST_LOST = 2


@pytest.mark.parametrize("queued", [False, True], ids=["inline", "queued"])
def test_a_step_that_kills_its_worker_fails_after_its_last_attempt(
    queued, store_url, redis_url, open_application, ledger
):
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    handle = application.durable.start(work.swallow, "poison", queued)
    groups = []

    def is_over() -> bool:
        # Dramatiq's own processes end when one of theirs dies; somebody starts them again, as here.
        if not groups or not groups[-1].running:
            groups.append(workers.start(processes=1, threads=2))
        return handle.run().ended_at is not None

    workers.until(is_over, "the run ends")

    assert result(workers, handle) == "AttemptLost after 3 attempts, outcome unknown: True"
    assert ledger.attempts("poison") == [1, 2, 3]
    assert len(groups) == 4
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)


@pytest.mark.parametrize(
    ("runs", "bites", "seconds", "queued"),
    [(40, 100, 0, False), (5, 2, 0.3, False), (5, 2, 0.3, True)],
    # One thread carries many runs while steps are quick; otherwise as many are under way as there are threads.
    ids=["quick", "inline", "queued"],
)
def test_runs_that_are_lost_with_a_poison_go_on_without_it(
    runs, bites, seconds, queued, open_application, ledger, tmp_path
):
    application, workers = open_application(
        APP_STORE=f"sqlite:///{tmp_path / 'store.db'}", APP_LEASE_SECONDS="600", APP_THREADS="6"
    )
    good = [
        application.durable.start(work.meal, f"good {n}", bites, seconds, queued=queued) for n in range(runs)
    ]
    bad = application.durable.start(work.meal, "bad", bites, seconds, bites // 2 - 1, queued)
    groups = []

    def is_over() -> bool:
        if not groups or not groups[-1].running:
            groups.append(workers.start_python("-m", "tests.acceptance.embedded"))
        return all(handle.run().ended_at is not None for handle in (*good, bad))

    workers.until(is_over, "the runs end")

    assert [handle.status() for handle in good] == [Status.COMPLETED] * runs
    assert ledger.attempts("bad") == [1, 2, 3]
    assert max(most_lost(handle) for handle in good) <= _MOST_LOST
    assert_recorded_once(application.durable)
