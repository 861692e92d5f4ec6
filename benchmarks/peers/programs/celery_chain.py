"""Celery: a chain, a group, an ETA. Workers load this module too."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from time import perf_counter

import asked
import chained
from celery import Celery, group
from celery import chain as chain_of

app = Celery("celery_chain", broker=chained.URL, backend=chained.URL)
app.conf.update(
    # A chain hands results on in its messages; only a group needs them stored.
    task_ignore_result=True,
    result_backend_transport_options={"global_keyprefix": chained.PEER},
    task_default_queue=chained.PEER,
    # "Lots of short tasks": the guide to optimizing advises a large multiplier.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def add(x: int) -> int:
    return x + 1


@app.task
def end(x: int, batch: str) -> None:
    chained.end(batch, x + 1)


@app.task(ignore_result=False)
def member(x: int) -> int:
    return x + 1


@app.task
def stamp(batch: str) -> None:
    chained.end(batch, perf_counter())


@app.task
def wake() -> None:
    asked.mark("awake")


def chain(count: int, batch: str) -> None:
    chain_of(*(add.s() for _ in range(count - 1)), end.s(batch)).apply_async((0,))


def fan_out(members: int) -> int:
    return len(group(member.s(x) for x in range(members)).apply_async().get(timeout=asked.PATIENCE_SECONDS))


def main() -> None:
    given = asked.given()
    with asked.Workers() as workers:
        celery = [sys.executable, "-m", "celery", "-A", "celery_chain", "worker", "--loglevel", "WARNING"]
        threads = ["--pool", "threads", "--concurrency", str(given["threads"])]
        # What these tell other workers is of no use to a chain.
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        for index in range(given["processes"]):
            workers.start([*celery, *threads, *quiet, "--hostname", f"peer{index}@%h"])
        chained.serve(
            4 * given["processes"] * given["threads"],
            chain=chain,
            # No worker consumes that queue.
            start=lambda: add.apply_async((0,), queue=f"{chained.PEER}-nobody"),
            stamp=stamp.delay,
            fan_out=fan_out,
            wake_at=lambda due: wake.apply_async(eta=datetime.fromtimestamp(due, UTC)),
        )


if __name__ == "__main__":
    main()
