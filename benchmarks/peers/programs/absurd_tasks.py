"""Absurd: tasks of `ctx.step`, on workers that poll Postgres."""

from __future__ import annotations

import json
import sys
from threading import Thread, local
from time import perf_counter, time
from typing import Any
from uuid import uuid4

import absurdctl
import asked
import psycopg
from absurd_sdk import Absurd, TaskContext

#: What workers take from, what the program itself takes from, as a task may not wait for another of its own queue, and
#: what nobody takes from.
MANY, ALONE, NOBODY = "many", "alone", "nobody"


def sum_up(params: Any, ctx: TaskContext) -> int:
    x = 0
    for _ in range(params["count"]):
        x = ctx.step("add_one", lambda x=x: x + 1)
    return x


def sum_up_noted(params: Any, ctx: TaskContext) -> int:
    def add_one(x: int) -> int:
        asked.mark("step")
        return x + 1

    x = 0
    for _ in range(params["count"]):
        x = ctx.step("add_one", lambda x=x: add_one(x))
    asked.mark("end")
    return x


def stamped(_params: Any, ctx: TaskContext) -> float:
    found = ctx.step("now", perf_counter)
    asked.mark("end")
    return found


def member(params: Any, _ctx: TaskContext) -> int:
    return int(params["x"]) + 1


def fan_out(params: Any, ctx: TaskContext) -> int:
    """The key makes a member that is spawned again the same one."""
    me = ctx.task_id
    spawn = clients().spawn
    members = [
        spawn("member", {"x": x}, queue=MANY, idempotency_key=f"{me}-{x}")["task_id"]
        for x in range(params["members"])
    ]
    return sum(1 for task in members if ctx.await_task_result(task, MANY).state == "completed")


def signalled(params: Any, ctx: TaskContext) -> None:
    """The first event of a name is the only one, so each has a name of its own."""
    for number in range(params["count"]):
        ctx.await_event(f"{params['name']}-{number}")
    asked.mark("end")


def asleep(params: Any, ctx: TaskContext) -> None:
    if time() < params["due"]:
        asked.mark("asleep")
    ctx.sleep_until("sleep", params["due"])
    asked.mark("awake")


def replayed(params: Any, ctx: TaskContext) -> None:
    """The second attempt replays what the first one has done."""
    for x in range(params["count"]):
        ctx.step("add_one", lambda x=x: x + 1)
    if not asked.marks(params["note"]):
        asked.mark(params["note"])
        raise RuntimeError("once more")


TASKS = (sum_up, sum_up_noted, stamped, member, fan_out, signalled, asleep, replayed)
_own = local()
_url = asked.given()["database"]


def client(queue: str) -> Absurd:
    """One with a connection of its own."""
    app = Absurd(_url, queue_name=queue)
    for task in TASKS:
        app.register_task(name=task.__name__)(task)
    return app


def clients() -> Absurd:
    """This thread's own."""
    if not hasattr(_own, "client"):
        _own.client = client(MANY)
    found: Absurd = _own.client
    return found


def work(given: Any) -> None:
    """One worker process. A client has one connection, so each thread has a client of its own."""
    for index in range(given["threads"]):
        options = {
            "worker_id": f"{given['name']}-{index}",
            "poll_interval": given["poll_seconds"],
            "claim_timeout": given["claim_seconds"],
        }
        Thread(target=client(MANY).start_worker, kwargs=options, daemon=True).start()
    asked.answer({})


def spawn(name: str, /, **params: Any) -> str:
    return str(clients().spawn(name, params)["task_id"])


def result_of(task: str) -> Any:
    """Not by `await_task_result`, which backs off up to a second and would see the end late."""

    def is_over() -> bool:
        found = clients().fetch_task_result(task)
        assert found is not None
        assert found.state != "failed", found
        return found.state == "completed"

    asked.wait_until(is_over)
    found = clients().fetch_task_result(task)
    assert found is not None
    return found.result


def steps(runs: int, count: int) -> float:
    def work() -> None:
        tasks = [spawn("sum_up", count=count) for _ in range(runs)]
        for task in reversed(tasks):
            assert result_of(task) == count

    return asked.seconds_of(work)


def stamped_at() -> float:
    ended = asked.marks("end")
    task = spawn("stamped")
    asked.wait_until(lambda: asked.marks("end") > ended)
    return float(result_of(task))


def signals(runs: int, each: int, threads: int) -> float:
    ended, names = asked.marks("end"), [str(uuid4()) for _ in range(runs)]
    for name in names:
        spawn("signalled", name=name, count=each)

    def send(number: int) -> None:
        for nth in range(each):
            clients().emit_event(f"{names[number]}-{nth}")

    def work() -> None:
        asked.calls(send, runs, threads)
        asked.wait_until(lambda: asked.marks("end") >= ended + runs)

    return asked.seconds_of(work)


def main() -> None:
    given = asked.given()
    if "name" in given:
        work(given)
        return
    threads = given["threads"]
    with psycopg.connect(_url, autocommit=True) as connection:
        # What `absurdctl init` runs through psql, which is not on every machine.
        connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
    alone = client(ALONE)
    for queue in (MANY, ALONE, NOBODY):
        alone.create_queue(queue)

    def here(name: str, /, *, attempts: int = 1, **params: Any) -> float:
        """Seconds of a task, or its last attempt, in this process: `work_batch` takes it at once, workers poll."""
        began = perf_counter()
        task = alone.spawn(name, params)["task_id"]
        for _ in range(attempts):
            if attempts > 1:
                began = perf_counter()
            alone.work_batch(claim_timeout=given["claim_seconds"])
        seconds = perf_counter() - began
        found = alone.fetch_task_result(task)
        assert found is not None
        assert found.state == "completed", found
        return seconds

    with asked.Workers() as workers:

        def lone(count: int) -> float:
            with workers.frozen():
                return here("sum_up", count=count)

        def starts(count: int, threads: int) -> float:
            return asked.calls(
                lambda _: clients().spawn("left_alone", {"count": 0}, queue=NOBODY), count, threads
            )

        def begin(runs: int, count: int) -> None:
            for _ in range(runs):
                spawn("sum_up_noted", count=count)

        def put_to_sleep(count: int, due: float) -> None:
            asked.calls(lambda _: spawn("asleep", due=due), count, threads)

        for index in range(given["processes"]):
            name = {"name": f"worker-{index}"}
            workers.start_asked([sys.executable, __file__, json.dumps({**given, **name})])
        steps(4 * given["processes"] * threads, 5)
        lone(5)
        asked.answer(
            {
                "steps": steps,
                "lone": lone,
                "starts": starts,
                "latency": lambda count: asked.latency(stamped_at, count),
                "signals": lambda runs, each: signals(runs, each, threads),
                "fan_out": lambda members: here("fan_out", members=members),
                "sleepers": lambda count, seconds: asked.sleepers(put_to_sleep, count, seconds),
                "recovery": lambda runs, count: asked.recovery(workers, begin, runs, count),
                "replay": lambda count: (
                    here("replayed", attempts=2, count=count, note=f"replayed-{uuid4()}") / count
                ),
            }
        )


if __name__ == "__main__":
    main()
