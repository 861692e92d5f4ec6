"""A broker by its URL, for programs that are told where their broker is; and a plain chain, to measure a broker by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.errors import QueueJoinTimeout
from dramatiq.middleware import CurrentMessage

from qwit_durable.errors import DefinitionError
from qwit_durable.stores import redacted

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["falls_silent", "follow_messages", "forget_queues", "open_broker", "plain_chain", "reach"]

_KNOWN = "redis://host:6379/0, rediss://…, amqp://user@host:5672/vhost, amqps://…"


def open_broker(url: str, *, namespace: str) -> Broker:
    """Make the broker that a URL names, and Dramatiq's global one.

    Args:
        url: `redis://…` or `amqp://…`.
        namespace: What keys in Redis begin with.

    Raises:
        DefinitionError: The URL names no known kind of broker, or its client is not installed.

    >>> open_broker("http://localhost", namespace="x")
    Traceback (most recent call last):
    qwit_durable.errors.DefinitionError: 'http://localhost' names no broker...
    """
    broker: Broker
    match url.partition("://")[0]:
        case "redis" | "rediss" | "unix":
            from dramatiq.brokers.redis import RedisBroker

            broker = RedisBroker(url=url, namespace=namespace)  # type: ignore[no-untyped-call]
        case "amqp" | "amqps":
            try:
                from dramatiq.brokers.rabbitmq import RabbitmqBroker
            except ImportError as error:
                msg = f"RabbitMQ's client is not installed: {error}\n  right: pip install 'qwit-durable[rabbitmq]'"
                raise DefinitionError(msg) from None
            broker = RabbitmqBroker(url=url)
        case _:
            msg = f"{redacted(url)!r} names no broker\n  known: {_KNOWN}"
            raise DefinitionError(msg)
    dramatiq.set_broker(broker)
    return broker


def reach(broker: Broker) -> None:
    """Make sure that it answers; raises whatever its client does."""
    known: Any = broker
    if hasattr(known, "client"):
        known.client.ping()
    else:
        _ = known.channel


def follow_messages(broker: Broker) -> None:
    """Add a middleware that sees each message: no bell for steps is shared then, or left out."""
    broker.add_middleware(CurrentMessage())


def forget_queues(broker: Broker, *queues: str) -> None:
    """Remove these queues and all that is in them; with Redis, the whole namespace."""
    known: Any = broker
    if hasattr(known, "client"):
        for key in known.client.scan_iter(f"{known.namespace}:*"):
            known.client.delete(key)
        return
    for queue in queues:
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            known.channel.queue_delete(name)


def plain_chain(broker: Broker, queue: str, ended: Callable[[], None]) -> Callable[[int], object]:
    """Declare an actor that does nothing and enqueues its successor; what comes back sends the first of so many.

    Args:
        broker: Where.
        queue: Its queue.
        ended: Called by the last of a chain.
    """

    def link(left: int) -> None:
        if left > 1:
            send(left - 1)
        else:
            ended()

    declare = dramatiq.actor(actor_name="qwit-bench.link", queue_name=queue, max_retries=0, broker=broker)
    send: Callable[[int], object] = declare(link).send
    return send


def falls_silent(broker: Broker, queue: str, within: timedelta) -> bool:
    """Wait until a queue holds no message, for so long at most; tell whether it does not."""
    try:
        broker.join(queue, timeout=round(within / timedelta(milliseconds=1)))
    except QueueJoinTimeout:
        return False
    return True
