"""The database goes away in the middle of work and comes back: workers wait and go on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import psycopg
import pytest

from tests.acceptance import work
from tests.acceptance.checks import approve, assert_nothing_is_left, assert_recorded_once, result
from tests.acceptance.conftest import migrate
from tests.servers import PostgresServer, ServerFailed

_ORDERS = 40


def _restart(server: PostgresServer) -> None:
    server.restart()


def _crash(server: PostgresServer) -> None:
    server.kill()
    for patience in (0.1, 0.3, 1.0, 3.0):
        try:
            server.start()
        except ServerFailed:
            # A session that was just being opened outlives its server by a moment, and holds the memory they share.
            Event().wait(patience)
        else:
            return
    server.start()


def _cut(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


@pytest.mark.parametrize(
    "harm", [[_cut, _cut, _cut], [_restart, _crash]], ids=["connections cut", "server restarted"]
)
def test_nothing_is_lost_while_the_database_is_away(
    harm: list[Callable[[PostgresServer], None]], own_postgres, redis_url, open_application, ledger
):
    server = own_postgres()
    migrate(server.url)
    application, workers = open_application(APP_STORE=server.url, APP_REDIS=redis_url)
    group = workers.start()
    workers.until(lambda: len(application.durable.reader.workers()) == 2, "both processes are there")
    processes = group.pids
    handles = [application.durable.start(work.checkout, f"order {n}") for n in range(_ORDERS)]
    for handle in handles:
        approve(handle)

    for part, each in enumerate(harm, start=1):
        wanted = part * _ORDERS * len(work.effects_of("any")) // (len(harm) + 1)
        workers.until(lambda wanted=wanted: ledger.count("effect") >= wanted, "work goes on")
        each(server)

    for n, handle in enumerate(handles):
        assert result(workers, handle) == f"order {n}: 6 items, approved by Ann, order {n} book"
    expected = [effect for n in range(_ORDERS) for effect in work.effects_of(f"order {n}")]
    assert ledger.standing() == dict.fromkeys(expected, 1)
    assert processes <= group.pids, "the workers themselves have lived through it"
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
