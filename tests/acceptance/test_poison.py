"""A step that kills its worker each time is not attempted for ever."""

from __future__ import annotations

import pytest

from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result


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
