"""Starting a run in the caller's transaction: it begins if and only if that commits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from psycopg.rows import dict_row

from qwit_durable import (
    DefinitionError,
    EncodingError,
    MisuseError,
    RunAlreadyExists,
    RunNotFound,
    Status,
    StoreError,
    Workflow,
    current,
    step,
    workflow,
)
from qwit_durable.clock import ManualClock
from qwit_durable.observers.base import Observer
from qwit_durable.stores import open_store
from qwit_durable.testing.environment import Environment


@step
def pack(what: str) -> str:
    return what.upper()


@step(transactional=True)
def order_more(what: str, fails: bool) -> str:
    connection = current().connection
    shop.write(connection, what)
    handle = checkout.options(id=what, connection=connection).start(what)
    if fails:
        raise RuntimeError("after the start")
    return handle.id


@workflow
def checkout(what: str) -> Workflow[str]:
    return (yield from pack(what))


@workflow
def supply(what: str, fails: bool) -> Workflow[str]:
    try:
        return (yield from order_more(what, fails))
    except Exception:  # noqa: BLE001 - the step fails on purpose
        return "failed"


class Listener(Observer):
    """An observer of starts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run_started(self, run: Any) -> None:
        self.names.append("run_started")


class Shop:
    """An application with a table of its own in the store's database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = not url.startswith("sqlite")
        self.clock = ManualClock()
        self.store = open_store(url, clock=self.clock)
        self.store.migrate()
        self.store.open()
        self.observer = Listener()
        self.environment = Environment(self.store, clock=self.clock, observers=[self.observer])
        with contextlib.closing(self.connect()) as connection:
            connection.execute("CREATE TABLE orders (what text)")
            connection.commit()

    def connect(self, **options: Any) -> Any:
        """A connection of the application's."""
        if self.is_postgres:
            return psycopg.connect(self.url, **options)
        return sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=1, **options)

    def write(self, connection: Any, what: str) -> None:
        """A row of the application's."""
        connection.execute(f"INSERT INTO orders VALUES ({'%s' if self.is_postgres else '?'})", (what,))

    def orders(self) -> list[str]:
        """What is committed."""
        with contextlib.closing(self.connect()) as connection:
            return [row[0] for row in connection.execute("SELECT what FROM orders ORDER BY what")]

    def start(self, connection: Any, what: str, **options: Any) -> Any:
        """A run in the transaction."""
        return self.environment.start(checkout.options(connection=connection, **options), what)

    def runs(self) -> list[str]:
        """The ids of the runs that are there."""
        return sorted(run.id for run in self.environment.runs())


shop: Shop


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in a file, and one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(autouse=True)
def a_shop(url: str) -> Iterator[Shop]:
    """A fresh shop."""
    global shop
    shop = Shop(url)
    with shop.environment:
        yield shop
    shop.store.close()


@pytest.fixture
def connection() -> Iterator[Any]:
    """A connection of the application's."""
    with contextlib.closing(shop.connect()) as connection:
        yield connection


# -- if and only if --------------------------------------------------------------------------------------------


def test_a_run_begins_when_the_transaction_commits_and_the_sweep_finds_it(connection: Any) -> None:
    shop.write(connection, "tea")
    handle = shop.start(connection, "tea", id="A")
    before = shop.runs()
    if shop.is_postgres:  # on SQLite nobody else can write while the application does
        shop.environment.settle(until=shop.clock.now() + timedelta(seconds=30))

    connection.commit()
    shop.environment.settle()

    assert before == []
    assert handle.result(0) == "TEA"
    assert shop.orders() == ["tea"]


def test_a_run_of_a_transaction_that_is_rolled_back_has_never_been(connection: Any) -> None:
    shop.write(connection, "tea")
    handle = shop.start(connection, "tea")

    connection.rollback()
    shop.environment.settle()

    assert shop.runs() == []
    with pytest.raises(RunNotFound, match="has not committed"):
        handle.ring()
    with pytest.raises(RunNotFound):
        handle.status()


def test_ringing_after_the_commit_makes_it_begin_at_once_and_observers_are_told_then(connection: Any) -> None:
    handle = shop.start(connection, "tea")
    connection.commit()
    silent = not shop.environment.bells.waiting and "run_started" not in shop.observer.names

    handle.ring()
    handle.ring()
    shop.environment.answer_bells()

    assert silent
    assert handle.result(0) == "TEA"
    assert shop.observer.names.count("run_started") == 1


def test_what_the_application_does_first_or_last_does_not_matter(connection: Any) -> None:
    first = shop.start(connection, "a")
    shop.write(connection, "b")
    second = shop.start(connection, "c", delay=timedelta(hours=1), attributes={"n": 1})
    shop.write(connection, "d")

    connection.commit()

    assert shop.runs() == sorted([first.id, second.id])
    assert second.status() is Status.SCHEDULED
    assert shop.orders() == ["b", "d"]


def test_a_run_takes_its_place_in_its_lane_once_the_transaction_has_committed(connection: Any) -> None:
    late = shop.start(connection, "late", lane="L")
    if shop.is_postgres:  # nobody in the lane waits for the application
        early = shop.environment.start(checkout.options(lane="L"), "early")
        shop.environment.settle(until=shop.clock.now() + timedelta(seconds=5))
        assert early.result(0) == "EARLY"

    connection.commit()
    shop.clock.advance(timedelta(milliseconds=1))
    late.ring()
    shop.environment.answer_bells()

    assert late.result(0) == "LATE"


def test_a_transactional_step_starts_a_run_together_with_its_checkpoint() -> None:
    good = shop.environment.start(supply, "tea", fails=False)
    bad = shop.environment.start(supply, "milk", fails=True)

    shop.environment.settle()

    assert good.result(0) == "tea"
    assert bad.result(0) == "failed"
    assert shop.orders() == ["tea"]
    assert shop.runs() == sorted([good.id, bad.id, "tea"])
    assert shop.environment.get("tea").result(0) == "TEA"


# -- ids -------------------------------------------------------------------------------------------------------


def test_ids_mean_what_they_mean_elsewhere(connection: Any) -> None:
    there = shop.environment.start(checkout.options(id="A"), "tea")

    attached = shop.start(connection, "tea", id="A")
    with pytest.raises(RunAlreadyExists, match="another input"):
        shop.start(connection, "milk", id="A")
    with pytest.raises(RunAlreadyExists, match="on_conflict"):
        shop.start(connection, "tea", id="A", on_conflict="fail")
    again = shop.start(connection, "cake", id="B")
    same = shop.start(connection, "cake", id="B")
    connection.commit()

    assert attached.run().created_at == there.run().created_at
    assert again.run() == same.run()
    assert shop.runs() == ["A", "B"]


def test_a_run_that_is_attached_to_can_go_on_while_the_transaction_is_open(connection: Any) -> None:
    if not shop.is_postgres:
        pytest.skip("on SQLite nobody else can write while the application does")
    there = shop.environment.start(checkout.options(id="A"), "tea")

    shop.start(connection, "tea", id="A")
    shop.environment.settle()
    went_on = there.result(0)
    connection.rollback()

    assert went_on == "TEA"


# -- what the caller's transaction is like afterwards -----------------------------------------------------------


def test_what_cannot_be_started_leaves_the_transaction_as_it_was(connection: Any) -> None:
    shop.write(connection, "tea")
    with pytest.raises(EncodingError):
        shop.start(connection, object())  # type: ignore[arg-type]
    bad: dict[str, Any] = {"attributes": {"note": "\0"}} if shop.is_postgres else {"id": "x\ud800"}
    with (
        attrs.validators.disabled(),
        pytest.raises(StoreError),
    ):  # else it would not come as far as to the store
        shop.start(connection, "milk", **bad)
    shop.write(connection, "cake")

    connection.commit()

    assert shop.orders() == ["cake", "tea"]
    assert shop.runs() == []


def test_the_settings_of_the_connection_neither_matter_nor_change(connection: Any) -> None:
    if shop.is_postgres:
        connection.row_factory = dict_row
        connection.cursor_factory = psycopg.ClientCursor
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.execute("SET TIME ZONE 'Asia/Tokyo'")
        connection.adapters.register_dumper(bytes, psycopg.types.string.StrDumper)
        wanted = dict_row, psycopg.ClientCursor, psycopg.IsolationLevel.SERIALIZABLE
    else:
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes
        wanted = sqlite3.Row, bytes, connection.isolation_level

    handle = shop.start(connection, "tea", id="A", attributes={"n": 1})
    again = shop.start(connection, "tea", id="A")
    names = ("row_factory", "cursor_factory", "isolation_level")
    found = tuple(
        getattr(connection, name)
        for name in (names if shop.is_postgres else ("row_factory", "text_factory", "isolation_level"))
    )
    connection.commit()

    assert found == wanted
    assert handle.run() == again.run()
    assert handle.run().attributes == {"n": 1}


# -- wrong connections -----------------------------------------------------------------------------------------


def test_a_connection_that_commits_by_itself_is_refused() -> None:
    option = {"autocommit": True} if shop.is_postgres else {"isolation_level": None}
    with contextlib.closing(shop.connect(**option)) as connection:
        with pytest.raises(DefinitionError, match="no transaction is open"):
            shop.start(connection, "tea")

        connection.execute("BEGIN")
        shop.start(connection, "tea")
        connection.execute("ROLLBACK")

    assert shop.runs() == []


def test_a_connection_to_somewhere_else_is_refused_and_both_places_are_named(tmp_path: Path) -> None:
    if shop.is_postgres:
        other = psycopg.connect(shop.url, dbname="postgres")
        named = "/postgres, which holds no schema 'qwit'"
    else:
        other = sqlite3.connect(tmp_path / "other.db")
        named = "other.db"

    with contextlib.closing(other), pytest.raises(DefinitionError) as caught:
        shop.start(other, "tea")

    assert named in str(caught.value)
    assert (shop.url.rpartition("/")[2].partition("?")[0]) in str(caught.value)


def test_what_is_no_connection_of_the_driver_is_refused_with_its_kind() -> None:
    with pytest.raises(DefinitionError, match=r"(?s)builtins\.object.*way out") as caught:
        shop.start(object(), "tea")
    assert "SQLAlchemy's or Django's" in str(caught.value)


def test_an_async_connection_is_refused_with_the_way_out() -> None:
    if not shop.is_postgres:
        pytest.skip("there is none for SQLite in the standard library")

    async def start() -> None:
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            shop.start(connection, "tea")

    with pytest.raises(DefinitionError, match=r"asyncio\.to_thread"):
        asyncio.run(start())


def test_a_transaction_that_has_failed_is_refused(connection: Any) -> None:
    if not shop.is_postgres:
        pytest.skip("a failed statement fails no transaction of SQLite")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT 1/0")

    with pytest.raises(DefinitionError, match="has failed"):
        shop.start(connection, "tea")


def test_a_store_in_memory_has_no_transactions_to_share(connection: Any) -> None:
    environment = Environment()

    with pytest.raises(MisuseError, match="no database"):
        environment.start(checkout.options(connection=connection), "tea")


# -- two at once -----------------------------------------------------------------------------------------------


def test_two_transactions_that_start_one_id_come_one_after_the_other(connection: Any) -> None:
    if not shop.is_postgres:
        pytest.skip("on SQLite there is one writer at a time")
    shop.start(connection, "tea", id="A")
    handles: list[Any] = []

    def other() -> None:
        with contextlib.closing(shop.connect()) as second:
            handles.append(shop.start(second, "tea", id="A"))
            second.commit()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(0.3)
    waited = not handles
    connection.commit()
    thread.join(10)

    assert waited
    assert shop.runs() == ["A"]
    assert handles[0].id == "A"


# -- layers over the driver ------------------------------------------------------------------------------------


class Layer:
    """Looks like SQLAlchemy's `Connection`, as far as it is looked at. The real ones are not installed here."""

    __module__ = "sqlalchemy.engine.base"

    def __init__(self, driver: Any, *, begun: bool) -> None:
        self.connection = self
        self.driver_connection = driver
        self._begun = begun

    def in_transaction(self) -> bool:
        return self._begun


def test_a_connection_inside_one_of_sqlalchemys_is_found(connection: Any) -> None:
    handle = shop.start(Layer(connection, begun=True), "tea")
    connection.commit()
    shop.environment.settle()

    assert handle.result(0) == "TEA"


def test_one_of_sqlalchemys_without_a_transaction_is_refused_because_nobody_would_commit(
    connection: Any,
) -> None:
    with pytest.raises(DefinitionError, match=r"engine\.begin"):
        shop.start(Layer(connection, begun=False), "tea")
