"""A URL names a store; a wrong one is explained, and no message shows a password."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qwit_durable.errors import DefinitionError
from qwit_durable.stores import open_store, redacted
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("sqlite:///orders.db", SqliteStore),
        ("sqlite:////var/lib/orders.db", SqliteStore),
        ("postgresql://ann:secret@db.example:5433/shop?sslmode=require", PostgresStore),
        ("postgres://db/shop", PostgresStore),
        ("postgresql://db/shop?prepare_threshold=none&wait_awake=no", PostgresStore),
    ],
)
def test_a_url_names_a_store_and_nothing_is_connected_to(url, kind):
    store = open_store(url)

    assert isinstance(store, kind)
    assert store.url == url


@pytest.mark.parametrize(
    "url",
    ["", "orders.db", "mysql://db/shop", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql:db"],
)
def test_an_unknown_url_is_answered_with_those_that_are_known(url):
    with pytest.raises(DefinitionError) as caught:
        open_store(url)

    for known in ("sqlite:///", "postgresql://", "memory://"):
        assert known in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@[::1/shop",
        "postgresql://ann:secret@db/shop?sslmod=require",
        "postgresql://db/shop?prepare_threshold=often",
        "postgresql://ann:secret@db/shop?wait_awake=always",
    ],
)
def test_a_postgres_url_that_cannot_be_read_is_explained_without_its_password(url):
    with pytest.raises(DefinitionError) as caught:
        open_store(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:////var/lib/orders.db", "sqlite:////var/lib/orders.db"),
        ("postgresql://db/shop", "postgresql://db/shop"),
        ("postgresql://ann@db/shop", "postgresql://ann@db/shop"),
        ("postgresql://ann:se:cr@et@db:5432/shop?a=1", "postgresql://ann:***@db:5432/shop?a=1"),
        ("postgresql:///shop?host=/run/pg&password=secret", "postgresql:///shop?host=/run/pg&password=***"),
        ("postgresql://ann:secret@[::1/shop", "postgresql://ann:***@[::1/shop"),
    ],
)
def test_a_redacted_url_shows_everything_but_the_password(url, shown):
    assert redacted(url) == shown


def test_importing_the_package_and_a_file_store_loads_no_driver_of_a_server():
    code = """
import sys
import qwit_durable
from qwit_durable.stores import open_store
open_store("sqlite:///orders.db"), open_store("memory://")
assert not {"psycopg", "psycopg_pool"} & set(sys.modules)
"""

    subprocess.run([sys.executable, "-c", code], check=True)
