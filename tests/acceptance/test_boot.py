"""A worker that can't work says why in one line and ends; it does not pretend to work."""

from __future__ import annotations

import psycopg
import pytest

from qwit_durable import Durable, StoreUnavailable
from tests.acceptance.workers import python

_NOBODY = "postgresql://ann:secret@127.0.0.1:1/shop"


def _boot(environment: dict[str, str]) -> tuple[int, list[str], str]:
    done = python(["-m", "dramatiq", "-p", "2", "-t", "1", "tests.acceptance.app"], environment)
    lines = [line for line in done.stderr.splitlines() if "[qwit_durable.boot] [CRITICAL]" in line]
    return done.returncode, lines, done.stderr


@pytest.fixture
def environment(redis_url, ledger):
    return {"APP_REDIS": redis_url, "APP_LEDGER": str(ledger.path)}


def test_a_worker_refuses_a_store_without_a_schema_in_one_line(environment, postgres_url):
    code, lines, output = _boot(environment | {"APP_STORE": postgres_url})

    assert code != 0
    assert 1 <= len(lines) <= 2, output  # one for each process
    assert all("has no schema: run `qwit migrate --store" in line for line in lines)
    assert "Traceback" not in output


def test_a_worker_refuses_a_newer_schema_in_one_line(environment, store_url):
    with psycopg.connect(store_url) as connection:
        connection.execute("insert into qwit.migration (number, name, checksum) values (99, 'later', 'x')")

    code, lines, output = _boot(environment | {"APP_STORE": store_url})

    assert code != 0
    assert 1 <= len(lines) <= 2, output
    assert all("is version 99; this code knows up to" in line for line in lines)
    assert "Traceback" not in output


def test_a_worker_without_its_database_ends_in_one_line_that_keeps_the_password(environment):
    code, lines, output = _boot(environment | {"APP_STORE": _NOBODY})

    assert code != 0
    assert 1 <= len(lines) <= 2, output
    assert all("no connection to the Postgres server at 127.0.0.1:1/shop" in line for line in lines)
    assert "secret" not in output
    assert "Traceback" not in output


def test_an_embedded_worker_raises_what_is_wrong_with_the_store():
    with pytest.raises(StoreUnavailable), Durable(_NOBODY).embedded():
        pass
