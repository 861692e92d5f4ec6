"""Every store keeps the contract that is shipped for all of them."""

from __future__ import annotations

import pytest

from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.testing.contract import StoreContract
from tests.stores.places import UnsyncedStore, migrate, opened, sqlite_url


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self, clock):
        return MemoryStore(clock)

    @pytest.fixture
    def another(self, store):
        return lambda: store


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, clock, tmp_path):
        with opened(UnsyncedStore(sqlite_url(tmp_path), clock=clock)) as store:
            yield store

    @pytest.fixture
    def another(self, store, clock, request):
        def open_another():
            other = UnsyncedStore(store.url, clock=clock)
            request.addfinalizer(other.close)
            return other

        return open_another


class TestPostgres(StoreContract):
    @pytest.fixture
    def url(self, postgres_template):
        return postgres_template("migrated", migrate)

    @pytest.fixture
    def store(self, clock, url):
        with opened(PostgresStore(url, clock=clock)) as store:
            yield store

    @pytest.fixture
    def another(self, store, clock, request):
        def open_another():
            other = PostgresStore(store.url, clock=clock)
            request.addfinalizer(other.close)
            return other

        return open_another
