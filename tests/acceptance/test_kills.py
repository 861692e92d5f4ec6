"""Workers are killed at any moment and their broker forgets everything: each order is fulfilled or undone."""

from __future__ import annotations

import random
import secrets
from threading import Event

import pytest
import redis

from qwit_durable import Status
from tests.acceptance import work
from tests.acceptance.checks import approve, assert_nothing_is_left, assert_recorded_once, result

_KILLS = 10
_ORDERS = 60
_FLUSHES = {3, 7}
#: There are more attempts than that, even if none is repeated.
_WORK = 500


@pytest.mark.timeout(240)
def test_sixty_sagas_survive_ten_kills_and_two_flushes_of_the_broker(
    store_url, own_redis, open_application, ledger
):
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    dice = random.Random(seed)
    server = own_redis()
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=server.url)
    places = {f"order {n}": ("", "", "start", "ship", "end")[n % 5] for n in range(_ORDERS)}
    group = workers.start()
    handles = {
        order: application.durable.start(work.checkout, order, fails) for order, fails in places.items()
    }
    for handle in handles.values():
        approve(handle)

    # The moment of a kill is a number of attempts, not a time: so it is in the middle of work on any machine.
    for kill in range(_KILLS):
        wanted = min(ledger.count("attempt") + dice.randint(1, 30), _WORK)
        workers.until(lambda wanted=wanted: ledger.count("attempt") >= wanted, f"work before kill {kill}")
        Event().wait(dice.random() * 0.02)
        group.kill()
        if kill in _FLUSHES:
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
        group = workers.start()

    outcomes = {order: result(workers, handle, seconds=120) for order, handle in handles.items()}
    wanted = {order: Status.COMPENSATED if fails else Status.COMPLETED for order, fails in places.items()}
    assert {order: handle.status() for order, handle in handles.items()} == wanted, outcomes
    fulfilled = [order for order, fails in places.items() if not fails]
    assert ledger.standing() == dict.fromkeys((e for order in fulfilled for e in work.effects_of(order)), 1)
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)


@pytest.mark.timeout(120)
def test_races_sagas_maps_and_restarts_survive_kills(store_url, redis_url, open_application, ledger):
    dice = random.Random(seed := secrets.randbits(32))
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    names = [f"parcel {n}" for n in range(8)]
    group = workers.start()
    handles = [application.durable.start(work.parcel, name, 2) for name in names]

    for kill in range(3):
        wanted = ledger.count("attempt") + dice.randint(5, 25)
        workers.until(lambda wanted=wanted: ledger.count("attempt") >= wanted, f"work before kill {kill}")
        group.kill()
        group = workers.start()

    assert [result(workers, handle) for handle in handles] == names
    assert ledger.standing() == dict.fromkeys(
        (stamp for name in names for stamp in work.stamps_of(name, 2)), 1
    )
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
