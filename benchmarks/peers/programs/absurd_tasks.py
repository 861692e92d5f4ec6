"""Absurd: tasks of `ctx.step`, on workers that poll Postgres."""

from __future__ import annotations

import json
import sys
from threading import Event, Thread
from time import perf_counter
from typing import Any

import absurdctl
import asked
import psycopg
from absurd_sdk import Absurd, TaskContext

#: How long a worker waits that has found nothing, 0.25 by default: the timed part begins with such a wait.
POLL_SECONDS = 0.05


def sum_up(params: Any, ctx: TaskContext) -> int:
    x = 0
    for _ in range(params["count"]):
        x = ctx.step("add_one", lambda x=x: x + 1)
    return x


def client(url: str, queue: str) -> Absurd:
    app = Absurd(url, queue_name=queue)
    app.register_task(name="sum_up")(sum_up)
    return app


def work(given: Any) -> None:
    """One worker process. A client has one connection, so each thread has a client of its own."""
    for index in range(given["threads"]):
        worker = client(given["postgres"], "many").start_worker
        options = {"worker_id": f"{given['name']}-{index}", "poll_interval": POLL_SECONDS}
        Thread(target=worker, kwargs=options, daemon=True).start()
    asked.answer({})


class Starter:
    """Spawns tasks and waits for their ends."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            # What `absurdctl init` runs through psql, which is not on every machine.
            connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        self._many, self._alone = client(url, "many"), client(url, "alone")
        self._many.create_queue()
        self._alone.create_queue()

    def steps(self, runs: int, count: int) -> float:
        began = perf_counter()
        waiting = [self._many.spawn("sum_up", {"count": count})["task_id"] for _ in range(runs)]
        tick = Event()
        while waiting:
            # Not `await_task_result`, which backs off up to a second and would see the end late.
            found = self._many.fetch_task_result(waiting[-1])
            if found is not None and found.state == "completed":
                assert found.result == count
                waiting.pop()
            else:
                assert found is not None
                assert found.state != "failed", found
                tick.wait(0.005)
        return perf_counter() - began

    def lone(self, count: int) -> float:
        """Run one in this process: `work_batch` takes it at once, where a worker would poll for it."""
        began = perf_counter()
        task = self._alone.spawn("sum_up", {"count": count})["task_id"]
        self._alone.work_batch()
        seconds = perf_counter() - began
        found = self._alone.fetch_task_result(task)
        assert found is not None
        assert found.result == count
        return seconds


def main() -> None:
    given = asked.given()
    if "name" in given:
        work(given)
        return
    starter = Starter(given["postgres"])

    with asked.Workers() as workers:

        def lone(count: int) -> float:
            with workers.frozen():
                return starter.lone(count)

        for index in range(given["processes"]):
            name = {"name": f"worker-{index}"}
            workers.start_asked([sys.executable, __file__, json.dumps({**given, **name})])
        starter.steps(4 * given["processes"] * given["threads"], 5)
        lone(5)
        asked.answer({"steps": starter.steps, "lone": lone})


if __name__ == "__main__":
    main()
