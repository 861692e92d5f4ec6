"""DBOS: a workflow of `@DBOS.step`, called in each worker process by a pool of threads."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import asked
from dbos import DBOS


@DBOS.step()
def add_one(x: int) -> int:
    return x + 1


@DBOS.workflow()
def sum_up(count: int) -> int:
    x = 0
    for _ in range(count):
        x = add_one(x)
    return x


def work(given: Any) -> None:
    """One application process. Each needs a name of its own as an executor."""
    DBOS(
        config={
            "name": "peer",
            "system_database_url": given["postgres"],
            "executor_id": given["name"],
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    with ThreadPoolExecutor(given["threads"]) as pool:

        def steps(runs: int, count: int) -> float:
            began = perf_counter()
            for value in pool.map(sum_up, [count] * runs):
                assert value == count
            return perf_counter() - began

        asked.answer({"steps": steps})


def main() -> None:
    given = asked.given()
    if "name" in given:
        work(given)
        return
    processes = given["processes"]

    with asked.Workers() as workers:

        def steps(runs: int, count: int) -> float:
            """Each process takes its share."""
            shares = [runs // processes + (index < runs % processes) for index in range(processes)]
            began = perf_counter()
            workers.ask([f"steps {share} {count}" for share in shares if share])
            return perf_counter() - began

        for index in range(processes):
            # One after the other: the first makes the schema.
            name = {"name": f"executor-{index}"}
            workers.start_asked([sys.executable, __file__, json.dumps({**given, **name})])
        steps(4 * processes * given["threads"], 5)
        asked.answer({"steps": steps, "lone": lambda count: steps(1, count)})


if __name__ == "__main__":
    main()
