"""What plain Dramatiq and Celery have in common: chains of messages, whose last link tells Redis that it has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import uuid4

import asked
from redis import Redis

URL = os.environ["REDIS_URL"]
#: The name of this peer's corner of Redis: every key has it in it.
PEER = os.environ["PEER"]
_ends = Redis.from_url(URL, socket_timeout=None)


def end(batch: str, value: float) -> None:
    """Say, from a worker, that a chain has ended."""
    _ends.rpush(batch, value)


def _end_of(batch: str) -> float:
    """What the next one says that ends. Redis tells it, so that nobody polls beside the workers."""
    answer = _ends.blpop([batch], timeout=asked.PATIENCE_SECONDS)
    if answer is None:
        raise TimeoutError
    return float(answer[1])


def _new_batch() -> str:
    return f"{PEER}-{uuid4()}"


def serve(
    runs: int,
    *,
    chain: Callable[[int, str], object],
    start: Callable[[], object],
    stamp: Callable[[str], object],
    fan_out: Callable[[int], int],
    wake_at: Callable[[float], object],
) -> None:
    """Answer, once so many short chains have come through: by then every process has imported and connected.

    Args:
        runs: How many warm them up.
        chain: Starts one of so many links that `end`s its batch with their number.
        start: Starts one that nobody works on.
        stamp: Starts one link that ends its batch with the time.
        fan_out: Starts so many at once and returns how many results there are.
        wake_at: Starts one that is due then, and marks `awake`.
    """

    def steps(runs: int, count: int) -> float:
        batch = _new_batch()

        def work() -> None:
            for _ in range(runs):
                chain(count, batch)
            for _ in range(runs):
                assert _end_of(batch) == count

        return asked.seconds_of(work)

    def stamped() -> float:
        batch = _new_batch()
        stamp(batch)
        return _end_of(batch)

    def fan(members: int) -> float:
        def work() -> None:
            assert fan_out(members) == members

        return asked.seconds_of(work)

    def put_to_sleep(count: int, due: float) -> None:
        for _ in range(count):
            wake_at(due)
            asked.mark("asleep")

    steps(runs, 5)
    asked.answer(
        {
            "steps": steps,
            "lone": lambda count: steps(1, count),
            "starts": lambda count, threads: asked.calls(lambda _: start(), count, threads),
            "latency": lambda count: asked.latency(stamped, count),
            "fan_out": fan,
            "sleepers": lambda count, seconds: asked.sleepers(put_to_sleep, count, seconds),
        }
    )
