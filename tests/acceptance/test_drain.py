"""A worker that is asked to stop lets go of its runs between two steps, and others go on at once."""

from __future__ import annotations

from qwit_durable.core import AttemptFailed
from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_STEPS = 500


def test_a_worker_that_is_told_to_stop_hands_a_long_run_over_without_burning_an_attempt(
    store_url, redis_url, open_application, ledger
):
    # Only a run that was let go of can end before so long a lease has lapsed.
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url, APP_LEASE_SECONDS="600")
    first = workers.start(processes=1, threads=2)
    handles = [application.durable.start(work.count_once, f"run {n}", _STEPS) for n in range(2)]
    workers.until(lambda: ledger.count("effect") > 20, "the first worker is in the middle")
    second = workers.start(processes=1, threads=2)
    workers.until(lambda: len(application.durable.reader.workers()) == 2, "the second worker is there")
    old = first.pids

    first.terminate()
    code = first.wait()
    left_at = ledger.count("effect")
    results = [result(workers, handle) for handle in handles]

    assert code == 0, first.log
    assert left_at < 2 * _STEPS
    assert results == [sum(range(_STEPS))] * 2
    assert ledger.pids() & old
    assert ledger.pids() & second.pids
    assert ledger.count("attempt") == 2 * _STEPS
    for handle in handles:
        recorded = application.durable.reader.history(handle.run().run_id)
        assert not [each for each in recorded if isinstance(each.event, AttemptFailed)]
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
