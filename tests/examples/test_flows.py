from __future__ import annotations

import time

import pytest
from dramatiq import Worker

from examples.flows import app
from examples.flows.work import board, order
from qwit_durable import Status
from qwit_durable.language.current import uninstall
from tests.examples.programs import run_module

_STATE = {"order": "tea", "cents": 900, "currency": "CHF", "address": "Elm Street 3"}
_SENT = [
    "tea: reserved",
    "tea: asked for 900 CHF",
    "tea: paid with card 4242",
    "tea: sent to Elm Street 3",
]
_LOST = [
    *_SENT[:3],
    "tea: asked to give card 4242 back",
    "tea: card 4242 is back: booked",
    "tea: put back on shelf 7",
]


@pytest.fixture
def played(tmp_path):
    """Plays an order on workers of these brokers."""

    def play(*brokers, **changes):
        board.clear()
        durable = app.put_on(brokers[0], f"sqlite:///{tmp_path}/flows.db", *brokers[1:])
        workers = [Worker(broker, worker_threads=1, worker_timeout=50) for broker in brokers]
        for worker in workers:
            worker.start()
        try:
            handle = durable.start(order, {**_STATE, **changes})
            handle.signal("Pay", "card 4242")
            until = time.monotonic() + 30
            while not handle.status().is_ended and time.monotonic() < until:
                if any(wait.what == "Pay.rollback" for wait in handle.explain().waits):
                    handle.signal("Pay.rollback", "booked", dedupe_id="once")
                time.sleep(0.02)  # a look at what its workers do, until it is done
            return handle.status(), list(board)
        finally:
            for worker in workers:
                worker.stop()
            for broker in brokers:
                broker.close()
            uninstall(durable)
            durable.close()

    return play


@pytest.mark.parametrize("server", ["redis_url", "rabbitmq_url"])
@pytest.mark.parametrize(
    ("address", "ends"),
    [("Elm Street 3", (Status.COMPLETED, _SENT)), ("nowhere", (Status.COMPENSATED, _LOST))],
)
def test_the_same_flow_runs_on_every_broker(server, address, ends, played, request):
    broker = app.broker_of(request.getfixturevalue(server))

    assert played(broker, address=address) == ends


@pytest.mark.parametrize(
    ("address", "ends"),
    [("Elm Street 3", (Status.COMPLETED, _SENT)), ("nowhere", (Status.COMPENSATED, _LOST))],
)
def test_one_flow_runs_over_two_brokers(address, ends, played, redis_url, rabbitmq_url):
    brokers = app.broker_of(redis_url), app.broker_of(rabbitmq_url)

    assert played(*brokers, address=address) == ends


def test_the_program_shows_both_ends(tmp_path):
    done = run_module("examples.flows", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "tea: parcel of tea",
        "pot: compensated, undone: Pay, Reserve",
    ]
