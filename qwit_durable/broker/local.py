"""A Dramatiq broker inside one process, for embedded use: queues in memory, no dead letters, no delays.

It is a doorbell and nothing more: what it loses, the store rings for again.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dramatiq import Broker, Message, MessageProxy
from dramatiq.broker import Consumer
from dramatiq.errors import QueueNotFound

if TYPE_CHECKING:
    from dramatiq import Worker

__all__ = ["LocalBroker"]


class LocalBroker(Broker):
    """Passes messages between the threads of one process.

    Attributes:
        worker: While it is set, messages go straight to its threads, without the one that consumes their queue.
    """

    def __init__(self) -> None:
        super().__init__(middleware=[])
        self.queues: dict[str, queue.SimpleQueue[Message[object]]] = {}
        self.worker: Worker | None = None

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue; declaring it twice changes nothing."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = queue.SimpleQueue()
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[object], *, delay: int | None = None) -> Message[object]:
        """Put a message on its queue.

        Raises:
            QueueNotFound: The queue was never declared.
            ValueError: A delay was asked for: durable timers are rows in the store.
        """
        if delay is not None:
            msg = "the in-process broker takes no delays: use a workflow's sleep() or options(delay=...)"
            raise ValueError(msg)
        try:
            target = self.queues[message.queue_name]
        except KeyError:
            raise QueueNotFound(message.queue_name) from None  # type: ignore[no-untyped-call]
        self.emit_before("enqueue", message, delay)
        worker = self.worker
        consumer = None if worker is None else worker.consumers.get(message.queue_name)
        # Its thread may have begun just now: what is acknowledged goes to what it consumes with.
        if consumer is None or consumer.consumer is None:
            target.put(message)
        else:
            consumer.handle_message(MessageProxy(message))
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """An endless iterator over a queue's messages; `timeout` is in milliseconds."""
        _ = prefetch
        return _LocalConsumer(self.queues[queue_name], timeout / 1000)

    def left(self) -> Iterator[Message[object]]:
        """Take out what no worker has taken."""
        for source in self.queues.values():
            while not source.empty():
                yield source.get()

    def flush(self, queue_name: str) -> None:
        """Forget a queue's messages."""
        try:
            while True:
                self.queues[queue_name].get_nowait()
        except queue.Empty:
            pass

    def flush_all(self) -> None:
        """Forget all messages."""
        for name in self.queues:
            self.flush(name)


class _LocalConsumer(Consumer):
    def __init__(self, source: queue.SimpleQueue[Message[object]], timeout_seconds: float) -> None:
        self._source = source
        self._timeout = timeout_seconds

    def __next__(self) -> MessageProxy | None:
        try:
            return MessageProxy(self._source.get(timeout=self._timeout))
        except queue.Empty:
            return None

    def ack(self, message: MessageProxy) -> None:
        """Nothing is kept, so nothing is to be confirmed."""

    def nack(self, message: MessageProxy) -> None:
        """No dead letters: the store rings again."""

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            self._source.put(message.copy())
