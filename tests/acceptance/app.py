"""The application under fire: brokers and store from the environment, as `dramatiq tests.acceptance.app` finds them.

APP_STORE, APP_LEDGER and APP_REDIS or APP_RABBITMQ are wanted. Where both brokers are named, Redis is at home and the
queue `mail` is RabbitMQ's. With APP_UNSEEN nobody follows messages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

import attrs
import dramatiq
from dramatiq import Broker, Message, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware

from qwit_durable import Durable
from tests.acceptance import work
from tests.acceptance.ledger import Ledger

__all__ = ["Application", "wire", "work"]


class Counting(Middleware):
    """A middleware of the user's, as there are many: it sees each message before its actor does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._ledger.message(message.actor_name, message.queue_name, type(broker).__name__)


@attrs.frozen
class Application:
    """A `Durable` and the brokers that it is on."""

    durable: Durable
    home: Broker | None
    redis: Broker | None
    rabbit: Broker | None

    def close(self) -> None:
        self.durable.close()
        for broker in (self.redis, self.rabbit):
            if broker is not None:
                broker.close()

    def send(self, queue: str, actor: str, *args: object) -> None:
        """Put any message on the home broker."""
        assert self.home is not None
        self.home.enqueue(Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options={}))


def wire(environment: Mapping[str, str]) -> Application:
    """Put the application together."""
    redis = rabbit = None
    ledger = Ledger(environment["APP_LEDGER"])
    if url := environment.get("APP_REDIS"):
        redis = RedisBroker(url=url)
    if url := environment.get("APP_RABBITMQ"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        rabbit = RabbitmqBroker(url=url, confirm_delivery=True)
    for broker in (redis, rabbit):
        if broker is not None and "APP_UNSEEN" not in environment:
            broker.add_middleware(CurrentMessage())
            broker.add_middleware(Counting(ledger))
    lease = float(environment.get("APP_LEASE_SECONDS", "1.5"))
    home = redis or rabbit
    durable = Durable(
        environment["APP_STORE"],
        queues={"mail": rabbit} if redis and rabbit else None,
        lease=timedelta(seconds=lease),
        beat=timedelta(seconds=min(lease / 3, 0.5)),
        sweep=timedelta(seconds=0.2),
    )
    if home is not None:
        home.add_middleware(durable)
        home.declare_queue("default")
    return Application(durable, home, redis, rabbit)


if "APP_STORE" in os.environ:
    application = wire(os.environ)
    durable, broker = application.durable, application.home
    redis_broker, rabbit_broker = application.redis, application.rabbit
    if broker is not None:
        dramatiq.set_broker(broker)
