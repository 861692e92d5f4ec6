"""Redis consumers that hear of a message at once.

Dramatiq's consumer of a Redis queue asks, and sleeps after each "nothing", longer and longer, up to a second: so long
an idle worker takes to find a message. Here it sleeps inside Redis instead. `BLMOVE queue queue LEFT LEFT` takes the
first id of the queue's list and puts it back where it was, in one step, and waits while the list is empty: nothing
changes, whoever enqueues does nothing for it, and all idle workers wake. It tells when to ask; what is fetched,
acknowledged and requeued goes through Dramatiq's own consumer as ever.

While threads of this process are at work, the consumer first gives them a moment, as Dramatiq's does: a busy worker
fetches in batches. Where Redis refuses (before 6.2, by ACL, behind some proxies) or its pool has no connection to
spare, one line is logged and the worker asks as often as Dramatiq's own, until the next try a minute later.

It is put in the place of one broker object's `consume` while a worker runs, and relies on that method, on `Consumer`,
on `broker.client`, and on the name of the queue's list: were that another one day, it would hear nothing and ask each
time that the worker's timeout is over, that is, once a second.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Consumer
from dramatiq.common import compute_backoff

from qwit_durable.broker.bells import is_bell
from qwit_durable.broker.kept import HomeConsumer
from qwit_durable.broker.local import LocalBroker
from qwit_durable.clock import monotonic

if TYPE_CHECKING:
    from dramatiq import Broker, MessageProxy, Worker

    from qwit_durable.broker.wire import Wire

__all__ = ["Ear", "ListeningConsumer", "listen"]

_logger = logging.getLogger("qwit_durable.bells")

_MOMENT_SECONDS = 0.005
_FALSE_ALARMS = 2
_DEAF_SECONDS = 60.0
_SOCKET_SECONDS = 5.0  # redis-py's, where nothing is said
_SPARE_CONNECTIONS = 4


def listen(broker: Broker, worker: Worker, wire: Wire | None = None) -> Callable[[], None]:
    """Let the consumers that a worker is about to start hear of messages, and know kept ones; answer how to undo that.

    Bells are acknowledged on the `wire`, if there is one.
    """
    if isinstance(broker, LocalBroker) or "consume" in vars(broker):
        return lambda: None
    module: Any = sys.modules.get("dramatiq.brokers.redis")
    is_redis = module is not None and isinstance(broker, module.RedisBroker)
    ear = Ear(broker, worker)
    consume: Callable[..., Consumer] = broker.consume

    def consume_at_home(queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if not is_redis or queue_name in broker.get_declared_delay_queues():
            return HomeConsumer(consume(queue_name, prefetch, timeout))
        # Its own sleep is taken from it: ours is in its place.
        return HomeConsumer(
            ListeningConsumer(
                consume(queue_name, prefetch, 1),
                lambda seconds: ear.wait(queue_name, seconds),
                prefetch=prefetch,
                enough=min(worker.worker_threads, prefetch - 1),
                timeout=timeout,
                wire=wire,
            )
        )

    vars(broker)["consume"] = consume_at_home

    def undo() -> None:
        vars(broker).pop("consume", None)

    return undo


class Ear:
    """Waits for messages on the connections of a Redis broker; deaf for a while when it was refused."""

    def __init__(self, broker: Broker, worker: Worker) -> None:
        self._broker: Any = broker
        self._worker = worker
        self._deaf_until = 0.0
        self._has_warned = False

    def wait(self, queue: str, seconds: float) -> bool | None:
        """Wait until a message lies on a queue; False if none has come, None if that can't be told."""
        if monotonic() < self._deaf_until:
            return None
        from redis.exceptions import RedisError, ResponseError  # its broker has done so already

        try:
            return self._wait(queue, seconds)
        except ResponseError as error:
            self._be_deaf(str(error))
        except RedisError:
            # The connection is lost, which the broker's own consumer sees next and knows how to mend.
            pass
        except Exception as error:  # noqa: BLE001 - a client of another make, which can't do this
            self._be_deaf(f"{type(error).__name__}: {error}")
        return None

    def _wait(self, queue: str, seconds: float) -> bool | None:
        client = self._broker.client
        if not self._has_room(client):
            self._be_deaf("its connection pool is too small to keep one waiting for each queue")
            return None
        longest = client.connection_pool.connection_kwargs.get("socket_timeout", _SOCKET_SECONDS)
        key = f"{self._broker.namespace}:{queue}"
        return (
            client.blmove(key, key, min(seconds, longest / 2 if longest else seconds), "LEFT", "LEFT")
            is not None
        )

    def _has_room(self, client: Any) -> bool:
        """Whether a waiting connection takes nothing from the threads: each needs one, and each consumer."""
        if getattr(client, "connection", None) is not None:  # a client of one connection
            return False
        users = self._worker.worker_threads + 2 * len(self._broker.get_declared_queues())
        return bool(client.connection_pool.max_connections >= users + _SPARE_CONNECTIONS)

    def _be_deaf(self, why: str) -> None:
        self._deaf_until = monotonic() + _DEAF_SECONDS
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "idle workers find messages in Redis up to a second late, because they can't wait for them: %s",
                why,
            )


class ListeningConsumer(Consumer):
    """Another consumer, with a sleep that ends when a message comes or a thread has room for one.

    Args:
        inner: Does everything else; its own sleep is to be short.
        wait: `Ear.wait` of this queue.
        prefetch: How many messages may be in hand.
        enough: How many keep the threads busy: with fewer, it is time to fetch.
        timeout: The longest sleep, in milliseconds.
        wire: On which bells are acknowledged.
    """

    def __init__(
        self,
        inner: Consumer,
        wait: Callable[[float], bool | None],
        *,
        prefetch: int,
        enough: int,
        timeout: int,
        wire: Wire | None = None,
    ) -> None:
        self._wire = wire
        self._inner = inner
        self._wait = wait
        self._prefetch, self._enough = prefetch, enough
        self._timeout = timeout
        self._changed = threading.Condition()
        self._in_hand: set[str] = set()
        self._wakes_at = -1
        self._has_fetched = False
        self._misses = 0
        self._alarms = 0

    def __next__(self) -> MessageProxy | None:
        """The next message, or None after a sleep."""
        message = next(self._inner)
        if message is None:
            self._rest()
            return None
        with self._changed:
            self._in_hand.add(message.message_id)
        self._has_fetched = True
        self._misses = self._alarms = 0
        return message

    def ack(self, message: MessageProxy) -> None:
        try:
            if self._wire is None or not is_bell(message):
                self._inner.ack(message)
            else:
                with self._wire.gathered(may_wait=len(self._in_hand) > 1):
                    self._inner.ack(message)
        finally:
            self._let_go(message)

    def nack(self, message: MessageProxy) -> None:
        try:
            self._inner.nack(message)
        finally:
            self._let_go(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._inner.requeue(messages)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.flush()
        self._inner.close()

    def _let_go(self, message: MessageProxy) -> None:
        with self._changed:
            self._in_hand.discard(message.message_id)
            if len(self._in_hand) <= self._wakes_at:
                self._changed.notify()

    def _rest(self) -> None:
        if self._wire is not None:
            self._wire.flush()
        seconds = self._timeout / 1000
        if len(self._in_hand) >= self._prefetch:
            self._rest_until(self._enough, seconds)
            return
        if self._has_fetched and self._in_hand:
            self._has_fetched = False
            self._rest_until(0, _MOMENT_SECONDS)
            return
        is_there = None if self._alarms > _FALSE_ALARMS else self._wait(max(seconds, 0.001))
        if is_there is None:
            self._misses, backoff_ms = compute_backoff(self._misses, max_backoff=self._timeout)
            self._rest_until(-1, backoff_ms / 1000)
        # Others may have been quicker. Should that go on, something is wrong here, and is not to keep a core busy.
        self._alarms = self._alarms + 1 if is_there else 0

    def _rest_until(self, in_hand: int, seconds: float) -> None:
        """Sleep until so few messages are in hand, but no longer than that."""
        with self._changed:
            self._wakes_at = in_hand
            self._changed.wait_for(lambda: len(self._in_hand) <= in_hand, seconds)
            self._wakes_at = -1
