"""Stores for tests: one of each kind, with the clock they go by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from qwit_durable.clock import Clock
from qwit_durable.stores import open_store
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.sqlite import SqliteStore

__all__ = ["UnsyncedStore", "emptied", "migrate", "opened"]

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'qwit' AND tablename <> 'migration'"


class UnsyncedStore(SqliteStore):
    """A file that no test pulls the plug on."""

    def _prepare(self, connection: sqlite3.Connection) -> None:
        super()._prepare(connection)
        connection.execute("PRAGMA synchronous = OFF")


@contextmanager
def opened(store: Store) -> Iterator[Store]:
    store.open()
    try:
        yield store
    finally:
        store.close()


def sqlite_url(folder: Path, name: str = "qwit.db") -> str:
    return f"sqlite:///{folder / name}"


def migrate(url: str) -> None:
    open_store(url).migrate()


@contextmanager
def emptied(url: str, clock: Clock | None) -> Iterator[Store]:
    with psycopg.connect(url) as connection:
        tables = ", ".join(f"qwit.{name}" for (name,) in connection.execute(_TABLES).fetchall())
        connection.execute(f"TRUNCATE {tables}")
    with opened(PostgresStore(url, clock=clock)) as store:
        yield store
