"""The application, its workers and its ledger, for each test anew."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwit_durable.stores import open_store
from tests.acceptance.ledger import Ledger
from tests.acceptance.workers import Workers
from tests.servers.fixtures import PostgresTemplate

if TYPE_CHECKING:
    from tests.acceptance.app import Application


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.acceptance)


def migrate(url: str) -> None:
    """Make the tables of a store."""
    store = open_store(url)
    store.migrate()
    store.close()


@pytest.fixture
def store_url(postgres_template: PostgresTemplate) -> str:
    """A Postgres store for this test alone."""
    return postgres_template("acceptance", migrate)


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    """An empty ledger."""
    found = Ledger(tmp_path / "ledger.db")
    connection = found.create()
    yield found
    connection.close()


@pytest.fixture
def start_workers() -> Generator[Callable[..., Workers]]:
    """Give a place to start workers in: `start_workers(QWIT_STORE_URL=..., ...)`. All are killed with the test."""
    with ExitStack() as cleanup:

        def make(**environment: str) -> Workers:
            workers = Workers(environment)
            cleanup.callback(_close, workers)
            return workers

        yield make


def _close(workers: Workers) -> None:
    surprises = workers.close()
    assert not surprises, "".join(surprises)


@pytest.fixture
def open_application(
    ledger: Ledger, start_workers: Callable[..., Workers]
) -> Generator[Callable[..., tuple[Application, Workers]]]:
    """Give the application as this process has it, and its workers: `open_application(APP_STORE=..., ...)`."""
    from tests.acceptance.app import wire  # what it registers must not be known to other folders' tests

    with ExitStack() as cleanup:

        def make(**environment: str) -> tuple[Application, Workers]:
            environment["APP_LEDGER"] = str(ledger.path)
            application = wire(environment)
            cleanup.callback(application.close)
            return application, start_workers(**environment)

        yield make
