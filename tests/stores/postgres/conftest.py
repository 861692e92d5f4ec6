"""A store on a server of its own database, for all that is special about Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.contract.stage import Stage
from tests.stores.places import migrate, opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def url(postgres_template: Any) -> str:
    """A migrated database that this test alone has."""
    return str(postgres_template("migrated", migrate))


@pytest.fixture
def store(url: str, clock: ManualClock) -> Iterator[Store]:
    with opened(PostgresStore(url, clock=clock)) as store:
        yield store


@pytest.fixture
def stage(store: Store, clock: ManualClock) -> Stage:
    return Stage(store, clock)
