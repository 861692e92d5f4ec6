"""How the server carries out the hot statements: rows are looked for by their keys, whatever it takes tables for."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import psycopg
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.stores.postgres import PostgresStore, hot, links
from qwit_durable.testing.contract.stage import Stage, resolved, task
from tests.stores.places import opened

_MODULES = [import_module(f"{hot.__name__}.{module.name}") for module in pkgutil.iter_modules(hot.__path__)]
STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}{name}".lower(): sql
    for module in (hot, *_MODULES)
    for name, sql in vars(module).items()
    if isinstance(sql, bytes) and b"qwit." in sql
}


@pytest.fixture
def session(url: str):
    """A session that plans as those of the store do, over tables of a row or two, as the server knows."""
    clock = ManualClock()
    with opened(PostgresStore(url, clock=clock)) as store:
        stage = Stage(store, clock)
        stage.begin().release(resolved("0"), tasks=(task("1"),))
        stage.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute(links._BY_KEY, (connection.info.backend_pid,))
        yield connection


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan.get("Schema") == "qwit" and plan["Node Type"].endswith("Scan"):
        yield plan
    for part in plan.get("Plans", ()):
        yield from _scans(part)


def _is_by_key(scan: dict[str, Any]) -> bool:
    by_key = r"\b(run_)?id = |\b(lane|place)\.namespace = .* AND \(\w+\.lane = "
    return scan["Node Type"] == "Tid Scan" or re.search(by_key, scan.get("Index Cond", "")) is not None


def test_no_hot_statement_reads_a_table_or_an_index_from_end_to_end(
    session: psycopg.Connection[tuple[Any, ...]],
):
    for name, sql in STATEMENTS.items():
        session.execute(f"PREPARE {name} AS {sql.decode()}")
    counted = session.execute(
        "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements"
    ).fetchall()

    explain = "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE"
    plans = {
        name: session.execute(f"{explain} {name}({', '.join(['NULL'] * count)})").fetchall()[0][0]
        for name, count in counted
    }

    scans = {name: [*_scans(plan[0]["Plan"])] for name, plan in plans.items()}
    assert scans.keys() == STATEMENTS.keys()
    assert sum(map(bool, scans.values())) >= len(STATEMENTS) - 1, "a start looks for nothing"
    assert [(name, scan) for name, of_it in scans.items() for scan in of_it if not _is_by_key(scan)] == []
