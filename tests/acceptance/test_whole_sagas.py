"""A saga with everything in it is carried out by ordinary Dramatiq workers, whatever the broker and the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwit_durable import Status
from tests.acceptance import work
from tests.acceptance.checks import approve, assert_nothing_is_left, assert_recorded_once, result


@pytest.fixture(params=["redis and postgres", "rabbitmq and postgres", "redis and sqlite"])
def environment(request, tmp_path: Path):
    broker, _, store = request.param.partition(" and ")
    on_file = f"sqlite:///{tmp_path / 'store.db'}"
    return {
        "APP_STORE": on_file if store == "sqlite" else request.getfixturevalue("store_url"),
        f"APP_{broker.upper()}": request.getfixturevalue(f"{broker}_url"),
    }


def test_sagas_complete_and_are_undone_on_every_broker_and_store(environment, open_application, ledger):
    application, workers = open_application(**environment)
    workers.start()

    good = [application.durable.start(work.checkout, f"good {n}") for n in range(4)]
    bad = {
        place: application.durable.start(work.checkout, f"bad {place}", place)
        for place in ("start", "ship", "end")
    }
    for handle in (*good, *bad.values()):
        approve(handle)

    for n, handle in enumerate(good):
        expected = f"good {n}: 6 items, approved by Ann, good {n} book"
        assert result(workers, handle) == expected
    for place, handle in bad.items():
        assert f"bad {place} at {place}" in str(result(workers, handle))
        assert handle.status() is Status.COMPENSATED
    assert sorted(ledger.standing()) == sorted(e for n in range(4) for e in work.effects_of(f"good {n}"))
    assert set(ledger.standing().values()) == {1}
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)


def test_a_queued_step_runs_under_the_users_middleware_as_an_actor_of_its_name(
    environment, open_application, ledger
):
    application, workers = open_application(**environment)
    workers.start(processes=1)
    handle = application.durable.start(work.checkout, "one")
    approve(handle)

    result(workers, handle)

    seen = {actor for (actor,) in ledger.rows("select actor from message")}
    assert {"charge", "pack"} <= seen
    assert ledger.notes() == ["one charge in message of charge"]
