"""Bells that a process keeps for its own threads: messages that go from one to another, and not over the broker.

Where a step follows that begins in the process that has rung for it (`engine.turning.foresight`), the broker would only
bring the message back, or to another process, which would have to be told of the run. Where nobody sees messages but
Dramatiq, there is none then. Else the step has a message of its own all the same: it is enqueued for whoever watches
that, read as from the broker, and handled by the worker as each of those that its consumer brings, behind those that
wait already. All that is left out is the broker.

What is lost with the process is rung for by the sweeper. A message may be over without having been followed, because a
middleware skips it or the worker stops first: whoever keeps one is told when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dramatiq import Message, MessageProxy
from dramatiq.broker import Consumer

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

__all__ = ["HomeConsumer", "ahead", "has_room", "keep"]


class _Kept(MessageProxy):
    """A message that the broker knows nothing of, and what to call when it is over."""

    over: Callable[[], None]


class HomeConsumer(Consumer):
    """Another consumer, to which messages may be acknowledged that did not come from it."""

    def __init__(self, inner: Consumer) -> None:
        self.inner = inner

    def __next__(self) -> MessageProxy | None:
        return next(self.inner)

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, _Kept):
            message.over()
        else:
            self.inner.ack(message)

    def nack(self, message: MessageProxy) -> None:
        if isinstance(message, _Kept):
            message.over()
        else:
            self.inner.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        known = list(messages)
        self.inner.requeue([message for message in known if not isinstance(message, _Kept)])
        for message in known:
            if isinstance(message, _Kept):
                message.over()

    def close(self) -> None:
        self.inner.close()


def ahead(worker: Worker, name: str) -> Sequence[str]:
    """The actors of the messages that wait for a thread, and go before one for this actor."""
    waiting = worker.work_queue
    if not waiting.qsize():
        return ()
    actors: dict[str, Any] = getattr(worker.broker, "actors")  # noqa: B009 - half typed upstream
    known = actors.get(name)
    priority = 0 if known is None else known.priority
    with waiting.mutex:
        return [item.message.actor_name for item in waiting.queue if item.priority <= priority]


def has_room(worker: Worker, name: str, is_quick: Callable[[str], bool], *, is_decided: bool = False) -> bool:
    """Whether one more message would soon be followed: what goes before it is little, and for quick steps.

    Where that `is_decided` already, and some have come meanwhile, it counts only that these are quick: going back on it
    costs more than all of them.
    """
    names = ahead(worker, name)
    return (is_decided or len(names) <= worker.queue_prefetch) and all(map(is_quick, names))


def keep(broker: Broker, worker: Worker, message: Message[None], over: Callable[[], None]) -> bool:
    """Enqueue a message for a worker of this process alone; False if that can't be."""
    thread = worker.consumers.get(message.queue_name)
    if thread is None or not isinstance(thread.consumer, HomeConsumer):
        return False
    broker.emit_before("enqueue", message, None)
    decode: Callable[[bytes], Any] = getattr(Message, "decode")  # noqa: B009 - half typed upstream
    kept = _Kept(decode(message.encode()))
    kept.over = over
    thread.handle_message(kept)
    broker.emit_after("enqueue", message, None)
    return True
