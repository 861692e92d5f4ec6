"""Plain Dramatiq: an actor that enqueues its successor, a group with results, a delay. Workers load this module too."""

from __future__ import annotations

import sys
from time import perf_counter, time

import asked
import chained
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=chained.URL, namespace=chained.PEER)
broker.add_middleware(Results(backend=RedisBackend(url=chained.URL, namespace=f"{chained.PEER}-results")))
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=0, queue_name="links")
def link(x: int, left: int, batch: str) -> None:
    x += 1
    if left > 1:
        link.send(x, left - 1, batch)
    else:
        chained.end(batch, x)


@dramatiq.actor(max_retries=0, queue_name="links", store_results=True)
def member(x: int) -> int:
    return x + 1


@dramatiq.actor(max_retries=0, queue_name="nobody")
def started() -> None:
    """No worker consumes its queue."""


@dramatiq.actor(max_retries=0, queue_name="links")
def stamp(batch: str) -> None:
    chained.end(batch, perf_counter())


@dramatiq.actor(max_retries=0, queue_name="links")
def wake() -> None:
    asked.mark("awake")


def fan_out(members: int) -> int:
    group = dramatiq.group(member.message(x) for x in range(members)).run()
    return sum(1 for _ in group.get_results(block=True, timeout=1000 * asked.PATIENCE_SECONDS))


def main() -> None:
    given = asked.given()
    with asked.Workers() as workers:
        sizes = ["-p", str(given["processes"]), "-t", str(given["threads"])]
        workers.start([sys.executable, "-m", "dramatiq", *sizes, "dramatiq_chain", "--queues", "links"])
        chained.serve(
            4 * given["processes"] * given["threads"],
            chain=lambda count, batch: link.send(0, count, batch),
            start=started.send,
            stamp=stamp.send,
            fan_out=fan_out,
            wake_at=lambda due: wake.send_with_options(delay=int((due - time()) * 1000)),
        )


if __name__ == "__main__":
    main()
