"""The schema: made once, by one process at a time, and refused where it is not what this code knows."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import attrs
import psycopg
import pytest

from qwit_durable.errors import SchemaMismatch
from qwit_durable.stores import open_store
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.migrations import check, migrations, pending
from qwit_durable.stores.sql.dialect import POSTGRES, SQLITE
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from tests.stores.places import sqlite_url

NAMES = [migration.name for migration in migrations("postgres")]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_steps_are_numbered_without_a_gap_and_split_into_statements(dialect):
    steps = migrations(dialect)

    assert [step.number for step in steps] == [*range(1, len(steps) + 1)]
    assert all(len(step.checksum) == 64 for step in steps)
    assert all(statement.startswith("CREATE") for statement in steps[0].statements)
    assert [step.name for step in steps] == NAMES


def test_what_was_applied_is_not_applied_again():
    applied = {step.number: step.checksum for step in migrations("sqlite")}

    assert pending("sqlite", {}, "here") == migrations("sqlite")
    assert pending("sqlite", applied, "here") == ()
    check("sqlite", applied, "here")


def test_a_step_that_was_changed_after_it_was_applied_is_refused():
    with pytest.raises(SchemaMismatch, match="0001_tables"):
        pending("sqlite", {1: "another"}, "here")


def test_sqlite_makes_its_schema_when_it_is_opened(tmp_path: Path):
    store = open_store(sqlite_url(tmp_path))
    before = store.schema_version()

    store.open()

    assert before == (0, len(NAMES))
    assert store.schema_version() == (len(NAMES), len(NAMES))
    assert store.migrate() == []
    store.close()


def test_sqlite_can_be_migrated_by_itself(tmp_path: Path):
    store = open_store(sqlite_url(tmp_path))

    assert store.migrate() == NAMES
    assert store.migrate() == []


def test_a_newer_sqlite_schema_is_refused(tmp_path: Path):
    store = open_store(sqlite_url(tmp_path))
    store.open()
    store.close()
    with sqlite3.connect(tmp_path / "qwit.db") as connection:
        connection.execute("INSERT INTO migration VALUES (99, '0099_later', 'x', 0)")
    connection.close()

    with pytest.raises(SchemaMismatch, match=r"version 99.*Upgrade qwit-durable"):
        store.open()
    assert store.schema_version() == (99, len(NAMES))


def test_a_postgres_database_without_a_schema_is_refused_until_it_is_migrated(postgres_url: str):
    store = open_store(postgres_url)
    with pytest.raises(SchemaMismatch) as caught:
        store.open()
    before = store.schema_version()

    applied = store.migrate()

    assert "run `qwit migrate --store" in str(caught.value)
    assert before == (0, len(NAMES))
    assert applied == NAMES
    assert store.migrate() == []
    assert store.schema_version() == (len(NAMES), len(NAMES))
    store.open()
    store.close()


def test_a_postgres_store_may_migrate_when_it_is_opened(postgres_url: str):
    store = open_store(postgres_url, migrate=True)

    store.open()

    assert store.schema_version() == (len(NAMES), len(NAMES))
    store.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("INSERT INTO qwit.migration VALUES (99, '0099_later', 'x')", "version 99.*Upgrade qwit-durable"),
        ("DELETE FROM qwit.migration", "no schema.*qwit migrate"),
        ("UPDATE qwit.migration SET checksum = 'x'", "0001_tables.*another content"),
    ],
)
def test_another_postgres_schema_than_this_code_knows_is_refused(
    postgres_url: str, change: str, message: str
):
    open_store(postgres_url).migrate()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(change)

    with pytest.raises(SchemaMismatch, match=message):
        open_store(postgres_url).open()


def test_an_older_schema_says_from_where_to_where():
    applied = {step.number: step.checksum for step in migrations("postgres")[:-1]}

    with pytest.raises(SchemaMismatch, match=r"qwit migrate --store postgresql://db/shop"):
        check("postgres", applied, "postgresql://db/shop")


def test_processes_that_migrate_at_once_do_it_once(postgres_url: str):
    barrier = threading.Barrier(4)
    applied: list[list[str]] = []

    def migrate() -> None:
        barrier.wait(10)
        applied.append(list(open_store(postgres_url).migrate()))

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(applied) == [[], [], [], NAMES]


def test_the_schemas_have_the_columns_that_the_code_names(tmp_path: Path, postgres_url: str):
    wanted = {
        table.name: set(table.columns)
        for table in vars(Tables(SQLITE, Encoding())).values()
        if hasattr(table, "columns")
    }
    wanted["event"] = {"run_id", "number", "at", *EVENT_COLUMNS.split(", ")}
    wanted["duty"] = {"duty", "worker", "until"}

    open_store(sqlite_url(tmp_path)).migrate()
    open_store(postgres_url).migrate()

    connection = sqlite3.connect(tmp_path / "qwit.db")
    for name, columns in wanted.items():
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        assert found == columns
    connection.close()
    with psycopg.connect(postgres_url) as server:
        rows = server.execute(
            "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns "
            "WHERE table_schema = 'qwit' AND table_name <> 'migration' GROUP BY 1"
        ).fetchall()
    assert {name: set(columns) for name, columns in rows} == wanted


def test_live_rows_can_be_updated_on_their_page(postgres_url: str):
    open_store(postgres_url).migrate()

    with psycopg.connect(postgres_url) as server:
        options = server.execute(
            "SELECT reloptions FROM pg_class WHERE oid = 'qwit.live'::regclass"
        ).fetchone()
        indexes = server.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'live'").fetchall()

    assert "fillfactor=50" in options[0]
    assert indexes == [("live_run",)]


def test_dialects_finish_statements():
    assert SQLITE.sql("SELECT ? FROM {live}") == "SELECT ? FROM live"
    assert POSTGRES.sql("SELECT ? FROM {live}") == "SELECT %s FROM qwit.live"
    assert attrs.evolve(SQLITE, schema="x.").sql("{run}") == "x.run"
