"""Processes without any server share the work that lies in one SQLite file."""

from __future__ import annotations

from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_RUNS, _STEPS = 9, 100


def test_processes_on_one_file_share_its_runs_and_take_over_those_of_a_dead_one_at_once(
    open_application, ledger, tmp_path
):
    # A lease of ten minutes would have to lapse first, if a dead process were not known to be dead.
    application, workers = open_application(
        APP_STORE=f"sqlite:///{tmp_path / 'store.db'}", APP_LEASE_SECONDS="600"
    )
    groups = [workers.start_python("-m", "tests.acceptance.embedded") for _ in range(3)]
    workers.until(lambda: len(application.durable.reader.workers()) == len(groups), "all are at work")
    handles = [application.durable.start(work.count, f"run {n}", _STEPS) for n in range(_RUNS)]
    workers.until(lambda: ledger.pids() >= {group.pid for group in groups}, "each has begun a step")

    victim = groups[0]
    victim.kill()
    results = [result(workers, handle) for handle in handles]

    assert results == [sum(range(_STEPS))] * _RUNS
    repeated = [what for (what,) in ledger.rows("select what from attempt group by what having count(*) > 1")]
    assert 0 < len(repeated) <= 2, (
        "what the dead process was in the middle of, and nothing else, is attempted again"
    )
    assert ledger.count("effect") == _RUNS * _STEPS
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
