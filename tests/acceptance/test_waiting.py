"""A run that waits is rows: it holds no thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from qwit_durable import Status
from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, result

_EACH = 500


def test_a_thousand_runs_wait_on_one_worker_with_one_thread(store_url, redis_url, open_application):
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    durable = application.durable
    workers.start(processes=1, threads=1)

    with ThreadPoolExecutor(8) as pool:
        asleep = list(pool.map(lambda n: durable.start(work.rest, f"sleeper {n}", 4.0), range(_EACH)))
        listening = list(pool.map(lambda n: durable.start(work.listen, f"listener {n}"), range(_EACH)))
        between = result(workers, durable.start(work.count, "between", 3))
        assert durable.counts()[Status.RUNNING] >= _EACH
        list(pool.map(lambda handle: handle.signal("go", handle.id), listening))

    assert between == 3
    for n, handle in enumerate(asleep):
        assert result(workers, handle) == f"sleeper {n}"
    for handle in listening:
        assert result(workers, handle) == handle.id
    assert_nothing_is_left(workers, durable)
