"""The processes of an application have different parts: some only start runs, some work for one broker of several."""

from __future__ import annotations

from tests.acceptance import work
from tests.acceptance.checks import approve, assert_nothing_is_left, assert_recorded_once, result
from tests.acceptance.workers import python

_START = """
from tests.acceptance.app import durable, work
handle = durable.start(work.checkout.options(id="from the web"), "web")
handle.signal("approved", "Bob")
print(handle.status())
"""
_AWAIT = """
from tests.acceptance.app import durable
print(durable.get("from the web").result(timeout=60))
"""


def test_a_process_that_never_works_starts_a_run_and_another_one_gets_its_result(
    store_url, redis_url, open_application
):
    _, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)

    started = python(["-c", _START], workers.environment)
    workers.start()
    awaited = python(["-c", _AWAIT], workers.environment)

    assert (started.stdout, started.stderr, started.returncode) == ("running\n", "", 0)
    assert (awaited.stdout, awaited.stderr, awaited.returncode) == (
        "web: 6 items, approved by Bob, web book\n",
        "",
        0,
    )


def test_the_steps_of_one_workflow_run_on_two_brokers(
    store_url, redis_url, rabbitmq_url, open_application, ledger
):
    application, workers = open_application(
        APP_STORE=store_url, APP_REDIS=redis_url, APP_RABBITMQ=rabbitmq_url
    )
    at_redis = workers.start(broker="tests.acceptance.app:redis_broker", processes=1)
    at_rabbitmq = workers.start(broker="tests.acceptance.app:rabbit_broker", processes=1)

    handles = [application.durable.start(work.checkout, f"order {n}") for n in range(4)]
    for handle in handles:
        approve(handle)

    for n, handle in enumerate(handles):
        assert result(workers, handle) == f"order {n}: 6 items, approved by Ann, order {n} book"
    brokers = set(
        ledger.rows("select distinct actor, broker from message where actor in ('charge', 'notify')")
    )
    assert brokers == {("charge", "RedisBroker"), ("notify", "RabbitmqBroker")}
    assert ledger.pids("% notify") <= at_rabbitmq.pids
    assert ledger.pids("% charge") <= at_redis.pids
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
