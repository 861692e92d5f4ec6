"""A Celery chain. Workers load this module too."""

from __future__ import annotations

import os
import sys
from time import perf_counter
from uuid import uuid4

import asked
from celery import Celery, chain
from redis import Redis

URL = os.environ["REDIS_URL"]
PEER = os.environ["PEER"]
app = Celery("celery_chain", broker=URL)
app.conf.update(
    # No result backend: a chain hands results on in its messages.
    task_ignore_result=True,
    task_default_queue=PEER,
    # "Lots of short tasks": the guide to optimizing advises a large multiplier.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
ends = Redis.from_url(URL, socket_timeout=None)


@app.task
def add(x: int) -> int:
    return x + 1


@app.task
def end(x: int, batch: str) -> None:
    ends.rpush(batch, x + 1)


def steps(runs: int, count: int) -> float:
    batch = f"{PEER}-{uuid4()}"
    links = [add.s() for _ in range(count - 1)]
    began = perf_counter()
    for _ in range(runs):
        chain(*links, end.s(batch)).apply_async((0,))
    for _ in range(runs):
        answer = ends.blpop([batch], timeout=300)
        assert answer is not None
        assert int(answer[1]) == count
    return perf_counter() - began


def main() -> None:
    given = asked.given()
    with asked.Workers() as workers:
        celery = [sys.executable, "-m", "celery", "-A", "celery_chain", "worker", "--loglevel", "WARNING"]
        threads = ["--pool", "threads", "--concurrency", str(given["threads"])]
        # What these tell other workers is of no use to a chain.
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        for index in range(given["processes"]):
            workers.start([*celery, *threads, *quiet, "--hostname", f"peer{index}@%h"])
        steps(4 * given["processes"] * given["threads"], 5)
        asked.answer({"steps": steps, "lone": lambda count: steps(1, count)})


if __name__ == "__main__":
    main()
