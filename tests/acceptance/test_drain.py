"""A worker that is asked to stop lets go of its runs between two steps, and others go on at once."""

from __future__ import annotations

from qwit_durable.core import AttemptFailed
from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_RUNS, _STEPS = 2, 250


def test_a_worker_that_is_told_to_stop_hands_its_runs_over_without_burning_an_attempt(
    store_url, redis_url, open_application, ledger
):
    # Only a run that was let go of can end before so long a lease has lapsed.
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url, APP_LEASE_SECONDS="600")
    groups = [workers.start(processes=1, threads=2) for _ in range(2)]
    workers.until(lambda: len(application.durable.reader.workers()) == len(groups), "both are there")
    handles = [application.durable.start(work.count_once, f"run {n}", _STEPS) for n in range(_RUNS)]
    workers.until(lambda: ledger.count("attempt") > 5, "work has begun")
    stopped = next(group for group in groups if group.pids & ledger.pids())
    old = stopped.pids

    stopped.terminate()
    code = stopped.wait()
    results = [result(workers, handle) for handle in handles]

    assert code == 0, stopped.log
    assert results == [sum(range(_STEPS))] * _RUNS
    taken_over = [pids for n in range(_RUNS) if (pids := ledger.pids(f"run {n} %")) & old]
    assert taken_over
    assert all(len(pids) == 2 for pids in taken_over), "begun by the one and ended by the other"
    assert ledger.count("attempt") == _RUNS * _STEPS
    for handle in handles:
        recorded = application.durable.reader.history(handle.run().run_id)
        assert not [each for each in recorded if isinstance(each.event, AttemptFailed)]
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
