"""What goes to Redis together: nothing is lost by it, and only bells and what acknowledges them wait."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest
from dramatiq import Message, MessageProxy, Worker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from qwit_durable.broker import bells as bells_module
from qwit_durable.broker.bells import STEP_MARK, TURN_ACTOR, BrokerBells, is_bell
from qwit_durable.broker.listening import ListeningConsumer
from qwit_durable.broker.wire import Wire
from qwit_durable.stores.rows import TURN, Ring


@pytest.fixture
def broker(redis_url):
    broker = RedisBroker(url=redis_url, middleware=[])
    broker.declare_queue("default")
    yield broker
    broker.close()


@pytest.fixture
def wire(broker):
    wire = Wire.of(broker)
    assert wire is not None
    yield wire
    wire.close()


def message(actor: str = TURN_ACTOR, *args: str) -> Message[None]:
    return Message(queue_name="default", actor_name=actor, args=args, kwargs={}, options={})


def on_the_queue(broker: RedisBroker) -> list[str]:
    ids = broker.client.lrange("dramatiq:default", 0, -1)
    found = [broker.client.hget("dramatiq:default.msgs", one) for one in ids]
    return [Message.decode(data).message_id for data in found]


def not_acknowledged(broker: RedisBroker) -> int:
    return broker.client.hlen("dramatiq:default.msgs")


def consumer_on(broker: RedisBroker, wire: Wire) -> ListeningConsumer:
    inner = broker.consume("default", prefetch=8, timeout=1)
    return ListeningConsumer(inner, lambda _: False, prefetch=8, enough=1, timeout=1, wire=wire)


def test_what_is_gathered_is_sent_at_the_end_in_its_order(broker, wire):
    messages = [message() for _ in range(3)]

    with wire.gathered():
        for each in messages:
            broker.enqueue(each)
        before = on_the_queue(broker)

    assert before == []
    assert on_the_queue(broker) == [each.message_id for each in messages]


def test_what_may_wait_goes_with_what_is_sent_next(broker, wire):
    early, late = message(), message()

    with wire.gathered(may_wait=True):
        broker.enqueue(early)
    before = on_the_queue(broker)
    with wire.gathered():
        broker.enqueue(late)

    assert before == []
    assert on_the_queue(broker) == [early.message_id, late.message_id]


def test_no_more_than_a_few_wait(broker, wire):
    for _ in range(100):
        with wire.gathered(may_wait=True):
            broker.enqueue(message())

    assert 100 - len(on_the_queue(broker)) < 16


def test_a_thread_that_sends_takes_along_what_others_ring_meanwhile(broker, wire):
    own, others = message(), message()
    wire._sending.acquire()
    with wire.gathered():
        broker.enqueue(others)
    before = on_the_queue(broker)
    wire._sending.release()

    with wire.gathered():
        broker.enqueue(own)

    assert before == []
    assert on_the_queue(broker) == [others.message_id, own.message_id]


def test_messages_of_the_users_own_are_sent_at_once(broker, wire):
    own = message("their.actor")

    broker.enqueue(own)

    assert on_the_queue(broker) == [own.message_id]


def test_bells_are_acknowledged_late_and_the_users_own_messages_at_once(broker, wire):
    sent = [message(), message("charge", f"{STEP_MARK}1", "0"), message("their.actor", "5")]
    for each in sent:
        broker.enqueue(each)
    consumer = consumer_on(broker, wire)
    turn, attempt, own = (next(consumer) for _ in sent)

    consumer.ack(turn)
    consumer.ack(own)
    after_two = not_acknowledged(broker)
    consumer.ack(attempt)

    assert [is_bell(MessageProxy(each)) for each in sent] == [True, True, False]
    assert after_two == 2
    assert not_acknowledged(broker) == 0


@pytest.mark.parametrize("when", ["idle", "closed"])
def test_what_waits_is_acknowledged_when_there_is_nothing_better_to_do(broker, wire, when):
    for _ in range(2):
        broker.enqueue(message())
    consumer = consumer_on(broker, wire)
    first, _ = next(consumer), next(consumer)
    consumer.ack(first)
    before = not_acknowledged(broker)

    if when == "idle":
        assert next(consumer) is None
    else:
        consumer.close()

    assert (before, not_acknowledged(broker)) == (2, 1)


def test_a_server_that_has_forgotten_the_script_is_told_it_again(broker, wire):
    broker.client.script_flush()

    with wire.gathered():
        broker.enqueue(message())
        broker.enqueue(message())

    assert len(on_the_queue(broker)) == 2


@pytest.fixture
def gone(monkeypatch):
    # What Dramatiq asks the first server of a process for, and keeps for all: as if a test before this one had one.
    monkeypatch.setattr(RedisBroker, "_max_unpack_size_val", 100)
    broker = RedisBroker(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0), middleware=[])
    broker.declare_queue("default")
    return broker


def test_bells_that_can_not_be_sent_are_left_to_the_sweeper(gone, caplog):
    wire = Wire.of(gone)

    with caplog.at_level(logging.WARNING), wire.gathered():
        gone.enqueue(message())

    assert "bells that could not be sent, so that the sweeper will ring: 1" in caplog.text
    assert not wire._waiting


def test_a_bell_is_left_to_the_sweeper_where_no_server_was_ever_reached(gone, monkeypatch, caplog):
    monkeypatch.setattr(RedisBroker, "_max_unpack_size_val", None)
    bells = BrokerBells(lambda: gone, {})
    wire = bells.attach(gone, Worker(gone))

    with caplog.at_level(logging.WARNING):
        bells.ring([Ring(run_id=UUID(int=1), position=TURN, queue="default", name="greet")])

    assert "on queue 'default', the sweeper will ring: " in caplog.text
    assert not wire._waiting


class Counting(Middleware):
    """Counts what is to be enqueued."""

    count = 0

    def before_enqueue(self, broker, message, delay):
        self.count += 1


@pytest.mark.parametrize("has_wire", [False, True])
@pytest.mark.parametrize("takes_long", [False, True])
def test_a_broker_that_takes_long_to_fail_is_left_alone_with_the_rest_of_the_bells(
    gone, monkeypatch, caplog, takes_long, has_wire
):
    monkeypatch.setattr(bells_module, "_LONG_SECONDS", 0 if takes_long else 3600)
    other, counting = StubBroker(middleware=[]), Counting()
    gone.add_middleware(counting)
    bells = BrokerBells(lambda: gone, {"mail": other})
    if has_wire:
        bells.attach(gone, Worker(gone))

    bells.ring(
        [
            Ring(run_id=UUID(int=1), position=f"0.{n}", queue=queue, name="greet")
            for n in range(40)
            for queue in ("default", "mail")
        ]
    )

    tried = (16 if has_wire else 1) if takes_long else 40
    assert counting.count == tried
    assert other.queues["mail"].qsize() == 40
    assert (f"no bell for {40 - tried} more, the sweeper will ring" in caplog.text) == takes_long


def test_a_broker_is_as_it_was_when_its_wire_is_closed(broker):
    wire = Wire.of(broker)
    with wire.gathered(may_wait=True):
        broker.enqueue(message())

    wire.close()

    assert len(on_the_queue(broker)) == 1
    assert not {"do_enqueue", "do_ack"} & vars(broker).keys()


def test_other_brokers_have_no_wire():
    assert Wire.of(StubBroker()) is None


def test_a_connection_that_is_lost_is_mended(broker, wire, redis_url):
    broker.enqueue(message())
    with Redis.from_url(redis_url) as root:
        assert root.client_kill_filter(_id=broker.client.client_id())
    sent = [message(), message()]

    with wire.gathered():
        for each in sent:
            broker.enqueue(each)

    assert on_the_queue(broker)[1:] == [each.message_id for each in sent]


def test_a_client_of_one_connection_sends_as_well(redis_url):
    broker = RedisBroker(client=Redis.from_url(redis_url, single_connection_client=True), middleware=[])
    broker.declare_queue("default")
    wire = Wire.of(broker)
    assert wire is not None
    own = message()

    with wire.gathered():
        broker.enqueue(own)

    assert on_the_queue(broker) == [own.message_id]
    wire.close()
    broker.close()
