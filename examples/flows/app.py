"""The same flow on Redis or on RabbitMQ: the broker is one line. `dramatiq examples.flows.app`."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from examples.flows.work import order
from qwit_durable import Durable

__all__ = ["broker_of", "order", "put_on"]


def broker_of(url: str) -> dramatiq.Broker:
    return RabbitmqBroker(url=url) if url.startswith("amqp") else RedisBroker(url=url)


def put_on(broker: dramatiq.Broker, store: str, mail: dramatiq.Broker | None = None) -> Durable:
    """Have the flow run on a broker; with a second one, what is on the queue `mail` goes there."""
    durable = Durable(store, queues={"mail": mail} if mail is not None else None)
    broker.add_middleware(durable)
    return durable


if "FLOWS_BROKER" in os.environ:
    broker = broker_of(os.environ["FLOWS_BROKER"])
    put_on(broker, os.environ.get("QWIT_STORE_URL", "sqlite:///flows.db"))
    dramatiq.set_broker(broker)
