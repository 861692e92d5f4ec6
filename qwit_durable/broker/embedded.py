"""A worker inside this process, on a broker inside this process."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from dramatiq import Broker, Worker
from dramatiq import broker as brokers
from dramatiq.middleware import Middleware

from qwit_durable.broker.local import LocalBroker

__all__ = ["embedded_worker", "global_broker_with"]

_POLL_MILLISECONDS = 100


@contextmanager
def embedded_worker(middleware: Middleware, threads: int) -> Generator[LocalBroker]:
    """Run a worker with this one middleware until the block ends."""
    broker = LocalBroker()
    broker.middleware.append(middleware)
    worker = Worker(broker, worker_threads=threads, worker_timeout=_POLL_MILLISECONDS)
    worker.start()
    try:
        broker.worker = worker
        yield broker
    finally:
        broker.worker = None
        worker.stop()


def global_broker_with(middleware: Middleware) -> Broker | None:
    """Dramatiq's global broker, if this middleware sits on it."""
    candidate = brokers.global_broker
    return candidate if candidate is not None and middleware in candidate.middleware else None
