"""Plain Dramatiq: an actor that enqueues its successor. Workers load this module too."""

from __future__ import annotations

import os
import sys
from time import perf_counter
from uuid import uuid4

import asked
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

URL = os.environ["REDIS_URL"]
PEER = os.environ["PEER"]
broker = RedisBroker(url=URL, namespace=PEER)
dramatiq.set_broker(broker)
ends = Redis.from_url(URL, socket_timeout=None)


@dramatiq.actor(max_retries=0, queue_name="links")
def link(x: int, left: int, batch: str) -> None:
    x += 1
    if left > 1:
        link.send(x, left - 1, batch)
    else:
        ends.rpush(batch, x)


def steps(runs: int, count: int) -> float:
    batch = f"{PEER}-{uuid4()}"
    began = perf_counter()
    for _ in range(runs):
        link.send(0, count, batch)
    for _ in range(runs):
        # Redis says it, so that nobody polls beside the workers.
        answer = ends.blpop([batch], timeout=300)
        assert answer is not None
        assert int(answer[1]) == count
    return perf_counter() - began


def main() -> None:
    given = asked.given()
    with asked.Workers() as workers:
        sizes = ["-p", str(given["processes"]), "-t", str(given["threads"])]
        workers.start([sys.executable, "-m", "dramatiq", *sizes, "dramatiq_chain"])
        # Every process has imported and connected when many chains have come through.
        steps(4 * given["processes"] * given["threads"], 5)
        asked.answer({"steps": steps, "lone": lambda count: steps(1, count)})


if __name__ == "__main__":
    main()
