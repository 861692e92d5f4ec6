"""Processes that work on one queue only, and priorities, beside messages that are shared, left out, or kept at home."""

from __future__ import annotations

import random
import secrets
from typing import Any

import pytest

from tests.acceptance import hops
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result

_HOPPING = "tests.acceptance.hops"
_RUNS, _HOPS = 16, 60
_KILLS = 4


@pytest.fixture(params=["redis", "rabbitmq"])
def brokers(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where the broker is."""
    return {f"APP_{request.param.upper()}": request.getfixturevalue(f"{request.param}_url")}


def _numbers_of(hop_count: int) -> set[str]:
    found, number = set(), 0
    while number < hop_count:
        found |= {f"near-{number}", f"near-{number + 1}", f"far-{number + 2}"}
        found |= {f"far-{number + 3 + n}" for n in range(3)}
        number += 6
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unseen", [{}, {"APP_UNSEEN": "1"}], ids=["seen", "unseen"])
def test_processes_of_one_queue_each_survive_kills(
    store_url: str, brokers: dict[str, str], open_application: Any, ledger: Any, unseen: dict[str, str]
):
    dice = random.Random(seed := secrets.randbits(32))
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    application, workers = open_application(APP_STORE=store_url, **brokers, **unseen)
    kinds = [("near",), ("far",), ("near", "far")]
    groups = [workers.start(_HOPPING, processes=1, queues=("default", *queues)) for queues in kinds]
    handles = [application.durable.start(hops.hopping, _HOPS) for _ in range(_RUNS)]

    for kill in range(_KILLS):
        wanted = min(len(hops.lines(ledger.path)) + dice.randint(10, 100), _RUNS * _HOPS)
        workers.until(lambda wanted=wanted: len(hops.lines(ledger.path)) >= wanted, f"work before {kill}")
        which = dice.randrange(len(kinds))
        groups[which].kill()
        groups[which] = workers.start(_HOPPING, processes=1, queues=("default", *kinds[which]))

    assert [result(workers, handle) for handle in handles] == [_HOPS] * _RUNS
    made = hops.made(ledger.path)
    assert {what for _, what in made} == _numbers_of(_HOPS)
    assert len(made) == _RUNS * _HOPS
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
    # What was lost is what processes had in hand when they were killed.
    assert sum(made.values()) - len(made) < _KILLS * 40


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unseen", [{}, {"APP_UNSEEN": "1"}], ids=["seen", "unseen"])
def test_urgent_steps_overtake_calm_ones_and_calm_ones_come_to_their_end(
    store_url: str, brokers: dict[str, str], open_application: Any, ledger: Any, unseen: dict[str, str]
):
    application, workers = open_application(APP_STORE=store_url, **brokers, **unseen)
    workers.start(_HOPPING, processes=1, threads=2, queues=("default", "near"))
    calm = [application.durable.start(hops.racing_calmly, 40) for _ in range(30)]
    workers.until(lambda: len(hops.lines(ledger.path)) > 150, "calm work")

    urgent = [application.durable.start(hops.racing_urgently, 20) for _ in range(2)]

    assert [result(workers, handle) for handle in (*urgent, *calm)] == [20] * 2 + [40] * 30
    order = [what.partition("-")[0] for _, what, *_ in hops.lines(ledger.path)]
    after_the_last_urgent_one = order[::-1].index("urgent")
    assert after_the_last_urgent_one > 0
    assert_recorded_once(application.durable)
