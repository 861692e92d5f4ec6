"""A worker is killed between `pending()` and `return`, and in the middle of a long step that reports."""

from __future__ import annotations

import pytest

from tests.acceptance import work
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_PAGES = 250
FILE, SERVER = "one file", "a server and a broker"


@pytest.fixture
def begin(request, open_application, tmp_path):
    """Give the application, its workers, and how one group of them is started."""

    def make(place):
        if place == FILE:
            application, workers = open_application(
                APP_STORE=f"sqlite:///{tmp_path / 'store.db'}", APP_LEASE_SECONDS="600"
            )
            return application, workers, lambda: workers.start_python("-m", "tests.acceptance.embedded")
        application, workers = open_application(
            APP_STORE=request.getfixturevalue("store_url"), APP_REDIS=request.getfixturevalue("redis_url")
        )
        return application, workers, lambda: workers.start(processes=1, threads=2)

    return make


@pytest.mark.parametrize(
    ("place", "queued", "first"),
    [(FILE, False, False), (FILE, True, True), (SERVER, True, True)],
    ids=["inline, the second token", "queued, the token of the dead", "the same on a server"],
)
def test_a_step_whose_worker_died_before_it_returned_is_completed_from_another_process(
    queued, place, first, begin, ledger
):
    application, workers, start = begin(place)
    handle = application.durable.start(work.signing, "A", queued)
    group = start()
    workers.until(ledger.notes, "the first attempt hands its token over")

    group.kill()
    start()
    workers.until(lambda: len(ledger.notes()) > 1, "the second attempt hands its token over")
    is_first = application.durable.complete(ledger.notes()[0 if first else 1], "Ann")

    assert is_first
    assert result(workers, handle) == "Ann"
    assert not application.durable.complete(ledger.notes()[1], "Bob")
    assert ledger.attempts("A sign") == [1, 2]
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)


@pytest.mark.parametrize(("place", "queued"), [(FILE, False), (SERVER, True)], ids=["inline", "queued"])
def test_a_long_step_goes_on_where_its_dead_worker_had_reported(queued, place, begin, ledger):
    application, workers, start = begin(place)
    handle = application.durable.start(work.exporting, "A", queued)
    group = start()
    workers.until(lambda: f"page {_PAGES // 2}" in ledger.notes(), "the first attempt is in the middle")

    group.kill()
    start()
    begun_at, pages = result(workers, handle)

    # Progress is written once a second: what is repeated is at most what was done in that second.
    assert 0 < begun_at <= _PAGES // 2 + 1
    assert pages == _PAGES
    assert {f"page {page}" for page in range(_PAGES)} == set(ledger.notes())
    assert ledger.attempts("A export") == [1, 2]
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
