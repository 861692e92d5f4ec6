"""The servers as fixtures. Shared ones are started by the first test that wants them, and not at all by others."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from itertools import count
from typing import Any, Protocol, TypeVar

import pytest
import redis

from tests.servers import run
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server, Unavailable
from tests.servers.shared import KINDS, shared, source

_ServerType = TypeVar("_ServerType", bound=Server)
_redis_turn = count()
_emptied: set[str] = set()


class PostgresTemplate(Protocol):
    """Gives the test a clone of a database that was prepared once in the run."""

    def __call__(self, name: str, prepare: Callable[[str], object]) -> str:
        """Return the URL of a fresh clone.

        Args:
            name: Names the template; one name must always mean the same preparation.
            prepare: Called once in a test run with the URL of an empty database, such as `migrate`; it must close its
                connections.
        """


def describe_sources() -> str:
    """One line for pytest's header."""
    return "servers: " + ", ".join(f"{kind.kind} from {source(kind)}" for kind in KINDS)


def drop_templates() -> None:
    """Drop the templates of this run from a server of the environment, which lives on."""
    url = os.environ.get("QWIT_TEST_POSTGRES_URL")
    if url and run.is_owner():
        server = PostgresServer.at(url, "QWIT_TEST_POSTGRES_URL")
        for name in server.database_names():
            if name.startswith(_template_prefix()):
                server.drop_database(server.url_of(name))


def _template_prefix() -> str:
    return f"template_{run.run_directory().name}_"


def available(kind: type[_ServerType], get: Callable[[], _ServerType]) -> _ServerType:
    """What `get` returns; where the machine has none the test is skipped, or fails if QWIT_TEST_REQUIRE names it."""
    try:
        return get()
    except Unavailable as missing:
        if kind.kind in os.environ.get("QWIT_TEST_REQUIRE", "").split(","):
            pytest.fail(f"QWIT_TEST_REQUIRE asks for {kind.kind}, but there is {missing}", pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The run's PostgreSQL server, not to be stopped."""
    return available(PostgresServer, lambda: shared(PostgresServer))


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    """The run's Redis server, not to be stopped."""
    return available(RedisServer, lambda: shared(RedisServer))


@pytest.fixture(scope="session")
def rabbitmq_server() -> RabbitServer:
    """The run's RabbitMQ server, not to be stopped."""
    return available(RabbitServer, lambda: shared(RabbitServer))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Generator[str]:
    """An empty database for this test alone."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def postgres_template(postgres_server: PostgresServer) -> Generator[PostgresTemplate]:
    """Clones of a database prepared once: `url = postgres_template("migrated", migrate)`. Dropped after the test."""
    with ExitStack() as cleanup:

        def clone(name: str, prepare: Callable[[str], object]) -> str:
            template = f"{_template_prefix()}{name}"
            with run.locked(f"template-{name}"):
                if template not in postgres_server.database_names():
                    draft = postgres_server.create_database()
                    prepare(draft)
                    postgres_server.create_database(name=template, template=draft.rpartition("/")[2])
                    postgres_server.drop_database(draft)
            url = postgres_server.create_database(template=template)
            cleanup.callback(postgres_server.drop_database, url)
            return url

        yield clone


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Generator[str]:
    """An empty Redis database for this test alone, by its number."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if redis_server.source == "QWIT_TEST_REDIS_URL":
        url = redis_server.url_of(1 + worker)
        _refuse_to_empty(url)
    else:
        per_worker = (redis_server.databases - 1) // 8
        url = redis_server.url_of(1 + worker % 8 * per_worker + next(_redis_turn) % per_worker)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


def _refuse_to_empty(url: str) -> None:
    """Leave a database alone that had something in it before this process used it."""
    if url in _emptied:
        return
    with redis.Redis.from_url(url) as client:
        if client.dbsize():
            pytest.fail(f"{url} is not empty, and tests would empty it: point QWIT_TEST_REDIS_URL elsewhere")
    _emptied.add(url)


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitServer) -> Generator[str]:
    """An empty virtual host for this test alone."""
    url = rabbitmq_server.create_vhost()
    yield url
    rabbitmq_server.drop_vhost(url)


@pytest.fixture
def own_postgres() -> Generator[Callable[..., PostgresServer]]:
    """Starts servers for this test alone, which it may stop and kill: `own_postgres(fsync=True)`."""
    yield from _own(PostgresServer)


@pytest.fixture
def own_redis() -> Generator[Callable[..., RedisServer]]:
    """Starts servers for this test alone, which it may stop and kill: `own_redis(persistent=True)`."""
    yield from _own(RedisServer)


@pytest.fixture
def own_rabbitmq() -> Generator[Callable[..., RabbitServer]]:
    """Starts servers for this test alone, which it may stop and kill. Each takes seconds: use sparingly."""
    yield from _own(RabbitServer)


def _own(kind: type[_ServerType]) -> Generator[Callable[..., _ServerType]]:
    with ExitStack() as cleanup:

        def start(**options: Any) -> _ServerType:
            server = available(kind, lambda: kind(**options))
            cleanup.callback(server.discard)
            return server.start()

        yield start
