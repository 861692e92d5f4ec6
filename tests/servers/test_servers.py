"""The servers that other tests stand on are real, are fresh for each test, and come back after a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psycopg
import pytest
import redis

from tests.servers import PostgresServer, RabbitServer, RedisServer, ServerFailed, Unavailable, fixtures
from tests.servers.fixtures import PostgresTemplate
from tests.servers.janitor import is_alive

ROOT = Path(__file__).resolve().parents[2]


def test_postgres_answers(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select 1").fetchone()

    assert row == (1,)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_a_database_of_its_own(postgres_url: str, turn: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("create table only_here (id int)")


def test_a_template_is_prepared_once_and_cloned_for_each(postgres_template: PostgresTemplate) -> None:
    prepared = []

    def prepare(url: str) -> None:
        prepared.append(url)
        with psycopg.connect(url) as connection:
            connection.execute("create table orders (id int)")

    first = postgres_template("prepared_once", prepare)
    second = postgres_template("prepared_once", prepare)

    assert len(prepared) <= 1
    assert first != second
    with psycopg.connect(first) as one, psycopg.connect(second) as other:
        one.execute("insert into orders values (1)")
        one.commit()
        assert other.execute("select count(*) from orders").fetchone() == (0,)


def test_postgres_keeps_what_was_committed_when_it_is_killed(
    own_postgres: Callable[..., PostgresServer],
) -> None:
    server = own_postgres(fsync=True)
    with psycopg.connect(server.url) as connection:
        connection.execute("create table t as select 7 as n")

    server.kill()
    assert not server.running
    server.restart()

    with psycopg.connect(server.url) as connection:
        assert connection.execute("select n from t").fetchone() == (7,)
        assert connection.execute("show fsync").fetchone() == ("on",)
    with psycopg.connect(server.socket_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_killed_postgres_leaves_nothing_in_shared_memory(
    own_postgres: Callable[..., PostgresServer],
) -> None:
    segments = Path("/proc/sysvipc/shm")
    if not segments.exists():
        pytest.skip("this system does not list its shared memory")
    server = own_postgres()
    pid = server.pid

    server.kill()
    server.discard()

    creators = [line.split()[4] for line in segments.read_text().splitlines()]
    assert str(pid) not in creators


def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_empty_redis_database(redis_url: str, turn: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", turn)


def test_a_persistent_redis_keeps_what_it_answered_when_it_is_killed(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis(persistent=True)
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "kept")

    server.kill()
    server.restart()

    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"kept"


def test_rabbitmq_delivers_what_was_published(rabbitmq_url: str) -> None:
    pika = pytest.importorskip("pika")
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.queue_declare("letters")

    channel.basic_publish("", "letters", b"hello")
    _, _, body = next(channel.consume("letters", inactivity_timeout=10))

    connection.close()
    assert body == b"hello"


def test_rabbitmq_gives_each_test_a_virtual_host(rabbitmq_url: str, rabbitmq_server: RabbitServer) -> None:
    pika = pytest.importorskip("pika")

    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        connection.channel().queue_declare("letters")

    vhost = rabbitmq_url.rpartition("/")[2]
    assert [queue["name"] for queue in rabbitmq_server.call("GET", f"/api/queues/{vhost}")] == ["letters"]


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_shared_server_refuses_to_be_ended(request: pytest.FixtureRequest, kind: str) -> None:
    server = request.getfixturevalue(f"{kind}_server")

    with pytest.raises(ServerFailed, match=f"own_{kind}"):
        server.kill()


def test_no_server_outlives_a_run_that_is_killed() -> None:
    code = (
        "from tests.servers import RedisServer, run\n"
        "server = RedisServer().start()\n"
        "print(server.pid, run.run_directory(), flush=True)\n"
        "import signal; signal.pause()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "QWIT_TEST_RUN_DIRECTORY"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as child:
        assert child.stdout is not None
        pid, _, directory = child.stdout.readline().strip().partition(" ")

        child.kill()

    _wait_until(lambda: not Path(directory).exists() and not is_alive(int(pid)))


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("postgres,redis", "failed")])
def test_a_missing_server_skips_unless_it_is_required(
    required: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> RedisServer:
        raise Unavailable("no Redis")

    monkeypatch.setenv("QWIT_TEST_REQUIRE", required)

    with pytest.raises(BaseException, match="no Redis") as caught:
        fixtures.available(RedisServer, missing)

    assert caught.type.__name__.lower() == outcome


def _wait_until(condition: Callable[[], bool], timeout_seconds: float = 60.0) -> None:
    tick = Event()
    for _ in range(int(timeout_seconds / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    pytest.fail(f"not within {timeout_seconds} s")
