"""A worker on Redis hears of messages. It says when to ask, and nothing else goes by it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from itertools import repeat
from urllib.parse import urlsplit, urlunsplit

import dramatiq
import pytest
import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.broker.kept import HomeConsumer
from qwit_durable.broker.listening import Ear, ListeningConsumer, listen
from qwit_durable.broker.local import LocalBroker

_VERY_LONG_SECONDS = 600.0
_PATIENCE_SECONDS = 20.0


@pytest.fixture
def open_broker(redis_url):
    opened: list[RedisBroker] = []

    def open_one(options: str = "") -> RedisBroker:
        broker = RedisBroker(
            url=f"{redis_url}?socket_timeout={3 * _VERY_LONG_SECONDS}{options}", middleware=[]
        )
        broker.declare_queue("default")
        opened.append(broker)
        return broker

    yield open_one
    for broker in opened:
        broker.close()


def ear_of(broker: RedisBroker, threads: int = 2) -> Ear:
    return Ear(broker, dramatiq.Worker(broker, worker_threads=threads))


def message(text: str = "") -> Message[None]:
    return Message(queue_name="default", actor_name="any", args=(text,), kwargs={}, options={})


def waiting_in(broker: RedisBroker) -> int:
    """How many connections wait for a message in the broker's database."""
    database = urlsplit(f"redis://x/{broker.client.connection_pool.connection_kwargs['db']}").path[1:]
    return sum(one["cmd"] == "blmove" and one["db"] == database for one in broker.client.client_list())


def until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(_PATIENCE_SECONDS / 0.005)):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("it has not happened")


class Aside:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._answers: list[object] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(call()), daemon=True)
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> object:
        self._thread.join(_PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        return self._answers[0]


def test_all_who_wait_hear_of_a_message_and_the_queue_stays_as_it_is(open_broker):
    brokers = [open_broker(), open_broker()]
    waits = [Aside(lambda b=b: ear_of(b).wait("default", _VERY_LONG_SECONDS)) for b in brokers]
    until(lambda: waiting_in(brokers[0]) == 2)

    for text in "abc":
        brokers[0].enqueue(message(text))
    heard = [wait.answer() for wait in waits]
    heard_again = ear_of(brokers[0]).wait("default", _VERY_LONG_SECONDS)

    consumer = brokers[1].consume("default", prefetch=8)
    assert heard == [True, True]
    assert heard_again is True
    assert [found.args[0] for found in (next(consumer) for _ in range(3))] == ["a", "b", "c"]
    assert brokers[0].client.llen("dramatiq:default") == 0


def test_silence_is_told_from_what_cannot_be_told(open_broker, caplog):
    broker = open_broker()
    ear = ear_of(broker)

    silence = ear.wait("default", 0.001)
    broker.client.set("dramatiq:strange", "no list")
    unknown = ear.wait("strange", _VERY_LONG_SECONDS)
    deaf = ear.wait("default", _VERY_LONG_SECONDS)

    assert silence is False
    assert unknown is None
    assert deaf is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_pool_without_connections_to_spare_is_left_to_the_threads(open_broker, caplog):
    ear = ear_of(open_broker("&max_connections=4"), threads=8)
    one = redis.Redis(single_connection_client=True, connection_pool=open_broker().client.connection_pool)
    alone = RedisBroker(client=one, middleware=[])

    answers = [ear.wait("default", _VERY_LONG_SECONDS), ear_of(alone).wait("default", _VERY_LONG_SECONDS)]

    alone.close()
    assert answers == [None, None]
    assert all("too small" in record.message for record in caplog.records)


def test_a_server_that_is_gone_is_left_to_the_brokers_own_consumer(caplog):
    broker = RedisBroker(host="127.0.0.1", port=1, retry=None, middleware=[])

    answer = ear_of(broker).wait("default", _VERY_LONG_SECONDS)

    assert answer is None
    assert not caplog.records


def test_a_client_that_cannot_do_it_is_left_alone(open_broker, caplog):
    broker = open_broker()
    ear, client = ear_of(broker), broker.client
    broker.client = object()

    answer = ear.wait("default", _VERY_LONG_SECONDS)

    broker.client = client
    assert answer is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_worker_with_its_hands_full_fetches_again_before_its_threads_run_dry():
    broker = LocalBroker()
    broker.declare_queue("default")
    consumer = ListeningConsumer(
        broker.consume("default", timeout=1), lambda _: None, prefetch=4, enough=2, timeout=600_000
    )
    for _ in range(4):
        broker.enqueue(message())
    in_hand = [next(consumer) for _ in range(4)]
    full = Aside(lambda: next(consumer))

    consumer.ack(in_hand[0])
    still_under_way = full.is_under_way
    consumer.nack(in_hand[1])

    assert still_under_way
    assert full.answer() is None


def test_false_alarms_do_not_keep_a_core_busy():
    broker = LocalBroker()
    broker.declare_queue("default")
    alarms = repeat(True)
    heard: list[float] = []
    consumer = ListeningConsumer(
        broker.consume("default", timeout=1),
        lambda s: heard.append(s) or next(alarms),
        prefetch=4,
        enough=2,
        timeout=2,
    )

    asked = [next(consumer) for _ in range(12)]

    assert asked == [None] * 12
    assert len(heard) == 9


def test_only_redis_brokers_are_listened_to_and_only_while_their_worker_runs(open_broker):
    broker, local = open_broker(), LocalBroker()
    local.declare_queue("default")

    undo = listen(broker, dramatiq.Worker(broker))
    again = listen(broker, dramatiq.Worker(broker))
    here, there = broker.consume("default"), broker.consume("default.DQ")
    undo()
    again()
    listen(local, dramatiq.Worker(local))

    assert isinstance(here, HomeConsumer)
    assert isinstance(here.inner, ListeningConsumer)
    assert isinstance(there, HomeConsumer)
    assert not isinstance(there.inner, ListeningConsumer)
    assert not isinstance(broker.consume("default"), HomeConsumer)
    assert not isinstance(local.consume("default"), HomeConsumer)


@pytest.mark.parametrize("may_wait", [True, False])
def test_runs_are_carried_on_whether_redis_lets_workers_wait_or_not(redis_url, tmp_path, caplog, may_wait):
    @step
    def double(n: int) -> int:
        return 2 * n

    @workflow
    def twice(n: int) -> Workflow[int]:
        first = yield from double(n)
        return (yield from double.options(dispatch="queue")(first))

    with redis.Redis.from_url(redis_url) as root:
        user = f"user{urlsplit(redis_url).path[1:]}"
        root.acl_setuser(
            user, enabled=True, passwords="+secret", keys="*", channels="*", commands=["+@all"], reset=True
        )
        if not may_wait:
            root.acl_setuser(user, enabled=True, commands=["-blmove"])
        parts = urlsplit(redis_url)
        url = urlunsplit(parts._replace(netloc=f"{user}:secret@{parts.hostname}:{parts.port}"))
        broker = RedisBroker(url=url)
        durable = Durable(f"sqlite:///{tmp_path}/qwit.db")
        broker.add_middleware(durable)
        worker = dramatiq.Worker(broker, worker_timeout=200, worker_threads=2)
        worker.start()
        try:
            if may_wait:
                until(
                    lambda: (
                        sum(one["user"] == user and one["cmd"] == "blmove" for one in root.client_list()) > 0
                    )
                )
            results = [durable.start(twice, n).result(timeout=30) for n in range(3)]
        finally:
            worker.stop()
            durable.close()
            broker.close()
            root.acl_deluser(user)

    told = [
        record for record in caplog.records if "find messages in Redis up to a second late" in record.message
    ]
    assert results == [0, 4, 8]
    assert len(told) == (0 if may_wait else 1)
