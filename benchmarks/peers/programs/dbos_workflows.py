"""DBOS: a workflow of `@DBOS.step`, called in each worker process by a pool of threads; a queue for what needs one."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter, time
from typing import Any
from uuid import uuid4

import asked
from dbos import DBOS, DBOSClient, SetWorkflowID

QUEUE = "many"
NAME = "peer"
#: Each process looks so often whether there are queues that it does not know.
_QUEUES_SEEN_SECONDS = 2.0


@DBOS.step()
def add_one(x: int) -> int:
    return x + 1


@DBOS.step()
def marked(x: int) -> int:
    asked.mark("step")
    return x + 1


@DBOS.step()
def now() -> float:
    return perf_counter()


@DBOS.workflow()
def sum_up(count: int) -> int:
    x = 0
    for _ in range(count):
        x = add_one(x)
    return x


@DBOS.workflow()
def sum_up_noted(count: int) -> int:
    x = 0
    for _ in range(count):
        x = marked(x)
    asked.mark("end")
    return x


@DBOS.workflow()
def stamped() -> float:
    found = now()
    asked.mark("end")
    return found


@DBOS.workflow()
def member(x: int) -> int:
    return x + 1


@DBOS.workflow()
def fan_out(members: int, poll_seconds: float) -> int:
    handles = [DBOS.enqueue_workflow(QUEUE, member, x) for x in range(members)]
    return sum(1 for handle in handles if handle.get_result(polling_interval_sec=poll_seconds))


@DBOS.workflow()
def signalled(count: int) -> None:
    for _ in range(count):
        assert DBOS.recv("next", timeout_seconds=600) is not None
    asked.mark("end")


@DBOS.workflow()
async def asleep(due: float) -> None:
    """A coroutine: a plain one would hold a thread."""
    asked.mark("asleep")
    await DBOS.sleep_async(due - time())
    asked.mark("awake")


@DBOS.workflow()
def replayed(count: int) -> float:
    """How long its steps take, which are replayed in a fork of it."""
    began = perf_counter()
    for x in range(count):
        add_one(x)
    return perf_counter() - began


def work(given: Any) -> None:
    """One application process. Each needs a name of its own as an executor."""
    poll: float = given["poll_seconds"]
    threads: int = given["threads"]
    DBOS(
        config={
            "name": NAME,
            "system_database_url": given["database"],
            "executor_id": given["name"],
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    with ThreadPoolExecutor(threads) as pool:

        def steps(runs: int, count: int) -> float:
            def work() -> None:
                for value in pool.map(sum_up, [count] * runs):
                    assert value == count

            return asked.seconds_of(work)

        def begin(runs: int, count: int) -> float:
            return asked.calls(lambda _: DBOS.start_workflow(sum_up_noted, count), runs, 1)

        def waiting(runs: int, count: int, batch: int) -> float:
            """Start so many that wait for signals, under names that whoever sends them knows."""

            def start(number: int) -> None:
                with SetWorkflowID(f"{given['name']}-{batch}-{number}"):
                    DBOS.start_workflow(signalled, count)

            return asked.calls(start, runs, 1)

        def replay(count: int) -> float:
            handle = DBOS.start_workflow(replayed, count)
            handle.get_result()
            fork = DBOS.fork_workflow(handle.get_workflow_id(), count + 1)
            return float(fork.get_result(polling_interval_sec=poll)) / count

        asked.answer(
            {
                "steps": steps,
                "begin": begin,
                "waiting": waiting,
                "latency": lambda count: asked.latency(
                    lambda: DBOS.start_workflow(stamped).get_result(), count
                ),
                "fan_out": lambda members: asked.seconds_of(lambda: fan_out(members, poll)),
                "replay": replay,
            }
        )


class Outside:
    """What another process does, which only knows the database."""

    def __init__(self, given: Any) -> None:
        # As many connections as there are threads that send.
        size = {"system_database_pool_size": 2 * given["threads"]}
        self._client = DBOSClient(system_database_url=given["database"], application_name=NAME, **size)
        self._threads: int = given["threads"]
        self._poll: float = given["poll_seconds"]

    @contextmanager
    def queue(self, **limits: int) -> Iterator[None]:
        """Have all processes poll a queue until the block ends: what they do without one costs less."""
        self._client.register_queue(QUEUE, polling_interval_sec=self._poll, **limits)
        asked.pause(_QUEUES_SEEN_SECONDS)
        try:
            yield
        finally:
            self._client.delete_queue(QUEUE)

    def enqueue(self, name: str, *args: Any, queue: str = QUEUE, **options: Any) -> Any:
        return self._client.enqueue({"queue_name": queue, "workflow_name": name, **options}, *args)

    def starts(self, count: int, threads: int) -> float:
        """Nobody works on them, as nobody polls that queue."""
        return asked.calls(lambda _: self.enqueue("sum_up", 0, queue="nobody"), count, threads)

    def sleepers(self, count: int, seconds: int) -> list[float]:
        def put_to_sleep(some: int, due: float) -> None:
            asked.calls(lambda _: self.enqueue("asleep", due), some, self._threads)

        with self.queue():
            return asked.sleepers(put_to_sleep, count, seconds)

    def latency(self, count: int) -> list[float]:
        def stamped() -> float:
            ended = asked.marks("end")
            handle = self.enqueue("stamped")
            # Not looked at before it is over, or the looking would be measured.
            asked.wait_until(lambda: asked.marks("end") > ended)
            return float(handle.get_result(polling_interval_sec=self._poll))

        with self.queue(worker_concurrency=self._threads):
            return asked.latency(stamped, count)

    def lanes(self, runs: int, is_one: int) -> float:
        """Partitions of a queue, of each of which one at a time is at work."""
        ended, batch = asked.marks("end"), uuid4()

        def start(number: int) -> None:
            self.enqueue("sum_up_noted", 1, queue_partition_key=f"{batch}-{0 if is_one else number}")

        def work() -> None:
            asked.calls(start, runs, self._threads)
            asked.wait_until(lambda: asked.marks("end") >= ended + runs)

        with self.queue(partition_concurrency=1, worker_concurrency=self._threads):
            return asked.seconds_of(work)

    def send(self, runs: list[str], each: int) -> None:
        def send_all(number: int) -> None:
            for _ in range(each):
                self._client.send(runs[number], "", "next")

        asked.calls(send_all, len(runs), self._threads)


def main() -> None:
    given = asked.given()
    if "name" in given:
        work(given)
        return
    processes, threads = given["processes"], given["threads"]
    batches = itertools.count()

    with asked.Workers() as workers:
        for index in range(processes):
            # One after the other: the first makes the schema.
            name = {"name": f"executor-{index}"}
            workers.start_asked([sys.executable, __file__, json.dumps({**given, **name})])
        outside = Outside(given)

        def share(verb: str, runs: int, *numbers: int) -> list[int]:
            """Each process takes its share; who got how many."""
            shares = [runs // processes + (index < runs % processes) for index in range(processes)]
            workers.ask([" ".join(map(str, (verb, share, *numbers))) for share in shares if share])
            return shares

        def steps(runs: int, count: int) -> float:
            return asked.seconds_of(lambda: share("steps", runs, count))

        def signals(runs: int, each: int) -> float:
            ended, batch = asked.marks("end"), next(batches)
            shares = share("waiting", runs, each, batch)
            names = [
                f"executor-{index}-{batch}-{number}"
                for index, share in enumerate(shares)
                for number in range(share)
            ]

            def work() -> None:
                outside.send(names, each)
                asked.wait_until(lambda: asked.marks("end") >= ended + runs)

            return asked.seconds_of(work)

        def latency(count: int) -> list[float]:
            [inside] = workers.ask([f"latency {count}"])
            return [*outside.latency(count), *inside]

        def fan_out(members: int) -> float:
            with outside.queue(worker_concurrency=threads):
                [found] = workers.ask([f"fan_out {members}"])
            return float(found)

        steps(4 * processes * threads, 5)
        asked.answer(
            {
                "steps": steps,
                "lone": lambda count: steps(1, count),
                "starts": outside.starts,
                "latency": latency,
                "signals": signals,
                "lanes": outside.lanes,
                "fan_out": fan_out,
                "sleepers": outside.sleepers,
                "recovery": lambda runs, count: asked.recovery(
                    workers, lambda *these: share("begin", *these), runs, count
                ),
                "replay": lambda count: workers.ask([f"replay {count}"])[0],
            }
        )


if __name__ == "__main__":
    main()
