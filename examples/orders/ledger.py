"""The shop's own database: the outside world that the steps change.

Attempts of a step may repeat, so each effect is made once by its key: the effect's row and what it changes are one
transaction, and a second row of the same key is no second effect. Stock is taken by an update that finds a row only
where enough is left, so it can't go below zero, whoever asks at the same time.

A SQLite file (several processes may use it at once) or a Postgres schema `shop`, by URL.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from examples.orders.data import Product

Rows = Sequence[Sequence[Any]]
Execute = Callable[..., Rows]

_SCHEMA = """
    create table if not exists product (
        id integer primary key, name text not null, opening integer not null,
        stock integer not null check (stock >= 0)
    );
    create table if not exists effect (
        key text primary key, kind text not null, order_id text not null, product_id integer not null,
        units integer not null, cents integer not null
    );
    create index if not exists effect_of_order on effect (order_id, kind, product_id)
"""
_BUSY_SECONDS = 30


class OutOfStock(Exception):
    """There is less of a product than an order wants."""


class Ledger:
    """One shop. Safe to use from several threads and processes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._is_sqlite = urlsplit(url).scheme == "sqlite"
        # SQLite has one writer at a time. Threads of one process wait for each other here, without polling.
        self._turn = threading.Lock()

    def create(self, products: Iterable[Product]) -> None:
        """Make the tables and put in the products, where that has not been done."""
        with self._transaction() as execute:
            if not self._is_sqlite:
                execute("select pg_advisory_xact_lock(hashtext('shop'))")
                execute("create schema if not exists shop")
            for statement in _SCHEMA.split(";"):
                execute(statement)
            for product in products:
                execute(
                    "insert into product (id, name, opening, stock) values (?, ?, ?, ?) on conflict do nothing",
                    (product.id, product.name, product.opening_units, product.opening_units),
                )

    def take(self, key: str, order_id: str, product_id: int, units: int) -> None:
        """Take units from the stock, once. Raises OutOfStock, and then nothing has changed."""
        with self._transaction() as execute:
            if self._note(execute, key, "take", order_id, product_id, units):
                taken = execute(
                    "update product set stock = stock - ? where id = ? and stock >= ? returning stock",
                    (units, product_id, units),
                )
                if not taken:
                    raise OutOfStock(f"product {product_id}: fewer than {units} left")

    def put_back(self, key: str, order_id: str, product_id: int) -> None:
        """Put back what an order took of a product, once; nothing, if it took nothing."""
        with self._transaction() as execute:
            for (units,) in self._note_undo(execute, key, "put back", "take", order_id, product_id):
                execute("update product set stock = stock + ? where id = ?", (units, product_id))

    def make(self, key: str, kind: str, order_id: str, *, units: int = 0, cents: int = 0) -> None:
        """Make an effect that changes no stock, once: a payment, a courier, a label, an invoice."""
        with self._transaction() as execute:
            self._note(execute, key, kind, order_id, 0, units, cents)

    def unmake(self, key: str, kind: str, made: str, order_id: str) -> None:
        """Undo the effect that `make` made for an order, once; nothing, if it made none."""
        with self._transaction() as execute:
            self._note_undo(execute, key, kind, made, order_id, 0)

    def read(self, sql: str) -> Rows:
        """The rows of a query."""
        with self._transaction() as execute:
            return execute(sql)

    def close(self) -> None:
        """Let go of the connections that are not in use."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    # -- transactions ------------------------------------------------------------------------------------------

    @staticmethod
    def _note(
        execute: Execute, key: str, kind: str, order: str, product: int, units: int, cents: int = 0
    ) -> bool:
        """Write an effect down under its key; False if it stands there already."""
        noted = execute(
            "insert into effect (key, kind, order_id, product_id, units, cents) values (?, ?, ?, ?, ?, ?)"
            " on conflict do nothing returning key",
            (key, kind, order, product, units, cents),
        )
        return bool(noted)

    @staticmethod
    def _note_undo(execute: Execute, key: str, kind: str, made: str, order: str, product: int) -> Rows:
        """Write down that an effect is undone; give its units, or nothing where there is nothing to undo."""
        return execute(
            "insert into effect (key, kind, order_id, product_id, units, cents)"
            " select ?, ?, order_id, product_id, units, cents from effect"
            " where kind = ? and order_id = ? and product_id = ?"
            " on conflict do nothing returning units",
            (key, kind, made, order, product),
        )

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        with self._connection() as connection:

            def execute(sql: str, values: Sequence[Any] = ()) -> Rows:
                cursor = connection.execute(sql if self._is_sqlite else sql.replace("?", "%s"), values)
                return cursor.fetchall() if cursor.description else ()

            connection.execute("begin immediate" if self._is_sqlite else "begin")
            try:
                yield execute
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection for this thread alone; one that is interrupted is thrown away."""
        if self._is_sqlite:
            with self._turn, self._borrowed() as connection:
                yield connection
        else:
            with self._borrowed() as connection:
                yield connection

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        except OutOfStock:
            self._idle.put(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def _connect(self) -> Any:
        if self._is_sqlite:
            path = self._url.removeprefix("sqlite:///")
            connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("pragma journal_mode = wal")
            return connection
        import psycopg

        return psycopg.connect(self._url, autocommit=True, options="-c search_path=shop")


@cache
def ledger(url: str) -> Ledger:
    """The shop at a URL, one object for each in this process."""
    return Ledger(url)


def shop() -> Ledger:
    """The shop that SHOP_URL names: steps run in whatever process a worker is, and find it by that."""
    return ledger(os.environ.get("SHOP_URL", "sqlite:///shop.db"))
