"""Rows that transactional steps write are there exactly once, whatever is killed or comes late."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import psycopg
import pytest

from qwit_durable import Durable
from tests.acceptance import bank
from tests.acceptance.checks import assert_nothing_is_left, assert_recorded_once, result
from tests.acceptance.ledger import Ledger
from tests.acceptance.workers import Workers

_PROCESS = ("-c", "from tests.acceptance import bank; bank.serve()")
_RUNS, _STEPS, _KILLS = 4, 40, 5


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in a file, and one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bank.db"
    return str(request.getfixturevalue("store_url"))


@pytest.fixture
def workers(start_workers, ledger: Ledger, url: str) -> Workers:
    """Processes on that store."""
    return start_workers(APP_STORE=url, APP_LEDGER=str(ledger.path))


@pytest.fixture
def durable(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Durable]:
    """The store as this process has it, with a table of the application's beside it."""
    monkeypatch.setenv("APP_STORE", url)
    found = bank.wire()
    found.store.open()
    sql(url, "CREATE TABLE entry (what TEXT)")
    yield found
    found.close()


def sql(url: str, statement: str) -> list[tuple[str]]:
    """What a statement finds."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)) as connection:
            return connection.execute(statement).fetchall()
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def entries(url: str) -> list[str]:
    """What the steps have written."""
    return sorted(what for (what,) in sql(url, "SELECT what FROM entry"))


def test_every_row_is_there_once_though_processes_are_killed(
    url: str, durable: Durable, workers: Workers, ledger: Ledger
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    dice = random.Random(seed)
    handles = [durable.start(bank.many, f"run {n}", _STEPS) for n in range(_RUNS)]
    wanted = [what for n in range(_RUNS) for what in bank.effects_of(f"run {n}", _STEPS)]

    for kill in range(_KILLS):
        group = workers.start_python(*_PROCESS)
        goal = min(ledger.count("attempt") + dice.randint(5, 30), len(wanted) - 20 + kill)
        workers.until(lambda goal=goal: ledger.count("attempt") >= goal, f"work before kill {kill}")
        Event().wait(dice.random() * 0.02)
        group.kill()
    workers.start_python(*_PROCESS)
    results = [result(workers, handle) for handle in handles]

    assert results == [_STEPS] * _RUNS
    assert entries(url) == sorted(wanted)
    assert ledger.count("attempt") >= len(wanted)
    assert_recorded_once(durable)
    assert_nothing_is_left(workers, durable)


def test_a_frozen_process_that_comes_back_writes_nothing(
    url: str, durable: Durable, workers: Workers, ledger: Ledger, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    zombie = workers.start_python(*_PROCESS)
    handle = durable.start(bank.late, "late", str(gate))
    workers.until(lambda: ledger.attempts("late"), "the step has begun")

    zombie.freeze()
    workers.start_python(*_PROCESS)
    value = result(workers, handle)
    gate.touch()
    zombie.thaw()
    workers.until(lambda: "attempt 1 has written" in ledger.notes(), "the zombie has written")
    # Its thread is free again once it was refused: a second run goes through the same process or the other.
    after = result(workers, durable.start(bank.many, "after", 3))

    assert value == 2
    assert after == 3
    assert entries(url) == sorted(["late by attempt 2", *bank.effects_of("after", 3)])
    assert_recorded_once(durable)
