"""What the benchmark runs: trivial steps, so that what is measured is everything around them.

This is also the module that its workers load: `dramatiq benchmarks.bodies`. Servers come from the environment.
"""

from __future__ import annotations

import os
from datetime import timedelta

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

from qwit_durable import Durable, Workflow, step, workflow

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

durable = Durable(os.environ.get("QWIT_STORE_URL"), sweep=timedelta(seconds=1))
broker = RedisBroker(url=REDIS_URL)
broker.add_middleware(durable)
dramatiq.set_broker(broker)
counter = Redis.from_url(REDIS_URL)


@step
def add(x: int) -> int:
    return x + 1


@step(dispatch="queue")
def add_queued(x: int) -> int:
    return x + 1


@workflow
def inline_steps(count: int) -> Workflow[int]:
    x = 0
    for _ in range(count):
        x = yield from add(x)
    return x


@workflow
def queued_steps(count: int) -> Workflow[int]:
    x = 0
    for _ in range(count):
        x = yield from add_queued(x)
    return x


@dramatiq.actor(max_retries=0, queue_name="plain")
def plain_link(left: int) -> None:
    """A link of a plain chain, which is not durable: do nothing, enqueue the successor."""
    if left > 1:
        plain_link.send(left - 1)
    else:
        counter.incr("plain_chains_done")
