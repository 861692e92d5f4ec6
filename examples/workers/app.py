"""What workers and producers import: the broker, the durable, and the workflows. `dramatiq examples.workers.app`."""

from __future__ import annotations

import os
import socket

import attrs
import dramatiq
from dramatiq.brokers.redis import RedisBroker

from qwit_durable import Durable, Observer, Workflow, gather, step, workflow
from qwit_durable.observers import LogObserver, OpenTelemetry, configure

observers: list[Observer] = [LogObserver()]
if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    configure(service_name="qwit-worker")
    observers.append(OpenTelemetry())

broker = RedisBroker(url=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
store = os.environ.get("QWIT_STORE_URL", "postgresql://localhost/qwit")
broker.add_middleware(Durable(store, observers=observers))
dramatiq.set_broker(broker)


@attrs.frozen
class Count:
    words: int
    counted_by: str


# Steps that take long, or need other machines, have a queue of their own: its workers can be fewer, or elsewhere.
@step(queue="counting")
def count_words(text: str) -> Count:
    return Count(len(text.split()), f"{socket.gethostname()}:{os.getpid()}")


@step
def publish(total: int) -> str:
    return f"{total} words"


@workflow
def count(texts: list[str]) -> Workflow[str]:
    counts = yield from gather(*(count_words(text) for text in texts))
    return (yield from publish(sum(one.words for one in counts)))


# An ordinary actor: it lives on the same broker, beside the workflows.
@dramatiq.actor
def ping() -> None:
    print("pong")
