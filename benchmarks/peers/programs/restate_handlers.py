"""Restate: a handler of `ctx.run_typed`, which hypercorn serves. The program starts Restate's server too."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from time import perf_counter, time
from typing import Any
from uuid import uuid4

import asked
import httpx
import restate

HOST = "127.0.0.1"
_READY_SECONDS = 60
INTEGER = restate.RunOptions(type_hint=int)

#: As the SDK's page on serving advises for production; `workers` comes with the number of processes.
HYPERCORN = """
bind = "{host}:{port}"
workers = {workers}
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
"""

peer = restate.Service("peer")
signalled = restate.Workflow("signalled")
lane = restate.VirtualObject("lane")


async def add_one(x: int) -> int:
    """A coroutine: the SDK hands plain functions to a thread."""
    return x + 1


async def marked(x: int) -> int:
    asked.mark("step")
    return x + 1


async def now() -> float:
    return perf_counter()


@peer.handler()
async def sum_up(ctx: restate.Context, count: int) -> int:
    x = 0
    for _ in range(count):
        x = await ctx.run_typed("add_one", add_one, INTEGER, x=x)
    return x


@peer.handler()
async def sum_up_noted(ctx: restate.Context, count: int) -> int:
    x = 0
    for _ in range(count):
        x = await ctx.run_typed("marked", marked, INTEGER, x=x)
    asked.mark("end")
    return x


@peer.handler()
async def stamped(ctx: restate.Context) -> float:
    return await ctx.run_typed("now", now, restate.RunOptions(type_hint=float))


@peer.handler()
async def member(_ctx: restate.Context, x: int) -> int:
    return x + 1


@peer.handler()
async def fan_out(ctx: restate.Context, members: int) -> int:
    calls = [ctx.service_call(member, x) for x in range(members)]
    return len(await restate.gather(*calls))


@peer.handler()
async def asleep(ctx: restate.Context, due: float) -> None:
    if time() < due:
        asked.mark("asleep")
        await ctx.sleep(timedelta(seconds=due - time()))
    asked.mark("awake")


@peer.handler(
    invocation_retry_policy=restate.InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))
)
async def replayed(ctx: restate.Context, given: dict[str, Any]) -> float:
    """The second attempt replays what the first one has done, and says when it has."""
    for x in range(given["count"]):
        await ctx.run_typed("add_one", add_one, INTEGER, x=x)
    if not asked.marks(given["note"]):
        asked.mark(given["note"])
        raise RuntimeError("once more")
    return perf_counter()


@lane.handler()
async def take_turn(ctx: restate.ObjectContext, x: int) -> None:
    """One at a time for each key."""
    await ctx.run_typed("add_one", add_one, INTEGER, x=x)
    asked.mark("end")


@signalled.main()
async def wait_for_all(ctx: restate.WorkflowContext, count: int) -> None:
    """A promise is kept once, so each has a name of its own."""
    asked.mark("waiting")
    for number in range(count):
        await ctx.promise(str(number), type_hint=bool)
    asked.mark("end")


@signalled.handler()
async def keep(ctx: restate.WorkflowSharedContext, number: int) -> None:
    await ctx.promise(str(number), type_hint=bool).resolve(value=True)


#: What hypercorn's workers load.
app = restate.app(services=[peer, signalled, lane])


class Ports:
    """Four that were free a moment ago."""

    def __init__(self) -> None:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(4)]
            self.node, self.ingress, self.admin, self.handlers = (each.getsockname()[1] for each in sockets)


def server_settings(ports: Ports, folder: Path) -> dict[str, str]:
    """A single node. Writes wait for the disk, as by default."""
    return {
        "RESTATE_BASE_DIR": str(folder / "restate-data"),
        "RESTATE_NODE_NAME": "peer",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": HOST,
        "RESTATE_ADVERTISED_HOST": HOST,
        "RESTATE_BIND_PORT": str(ports.node),
        "RESTATE_INGRESS__BIND_PORT": str(ports.ingress),
        "RESTATE_ADMIN__BIND_PORT": str(ports.admin),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        # 24 by default, which is meant for a cluster and costs a single node half of its speed.
        "RESTATE_DEFAULT_NUM_PARTITIONS": "1",
    }


class Caller:
    """Calls the handler through the server's ingress, as a client does."""

    def __init__(self, http: httpx.AsyncClient, ports: Ports) -> None:
        self._http, self._ports = http, ports

    async def register(self) -> None:
        """Wait for the server and for the handlers, and make them known to each other."""
        handlers = {"uri": f"http://{HOST}:{self._ports.handlers}"}
        deadline = perf_counter() + _READY_SECONDS
        while True:
            try:
                answer = await self._http.post(
                    f"http://{HOST}:{self._ports.admin}/deployments", json=handlers
                )
                answer.raise_for_status()
                health = await self._http.get(f"http://{HOST}:{self._ports.ingress}/restate/health")
                health.raise_for_status()
            except httpx.HTTPError:
                if perf_counter() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def call(self, path: str, body: Any = None) -> Any:
        """Start what is at this path and wait for its value; with `/send` at its end, only for the start."""
        answer = await self._http.post(f"http://{HOST}:{self._ports.ingress}/{path}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def steps(self, runs: int, count: int) -> None:
        found = await asyncio.gather(*(self.call("peer/sum_up", count) for _ in range(runs)))
        assert found == [count] * runs

    async def replay(self, count: int) -> float:
        """Seconds from the end of the first attempt."""
        note = f"replayed-{uuid4()}"
        call = asyncio.create_task(self.call("peer/replayed", {"count": count, "note": note}))
        while not asked.marks(note):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.001)
        began = perf_counter()
        return float(await call) - began

    async def times(self, act: Callable[[int], Awaitable[object]], count: int, at_once: int) -> None:
        """Do something so many times, so many at once."""
        numbers = iter(range(count))

        async def one_by_one() -> None:
            for number in numbers:
                await act(number)

        await asyncio.gather(*(one_by_one() for _ in range(at_once)))


def main() -> None:
    given = asked.given()
    folder, ports = Path(given["folder"]), Ports()
    settings = folder / "hypercorn.toml"
    processes, threads = given["processes"], given["threads"]
    settings.write_text(HYPERCORN.format(host=HOST, port=ports.handlers, workers=processes))
    http = httpx.AsyncClient(timeout=asked.PATIENCE_SECONDS, limits=httpx.Limits(max_connections=None))
    caller = Caller(http, ports)
    with asked.Workers() as workers, asyncio.Runner() as runner:

        def times(act: Callable[[int], Awaitable[object]], count: int, at_once: int) -> float:
            return asked.seconds_of(lambda: runner.run(caller.times(act, count, at_once)))

        def sent(handler: str, body: Any) -> Callable[[int], Awaitable[object]]:
            return lambda _: caller.call(f"{handler}/send", body)

        def steps(runs: int, count: int) -> float:
            return asked.seconds_of(lambda: runner.run(caller.steps(runs, count)))

        def starts(count: int, at_once: int) -> float:
            with workers.frozen():
                return times(sent("peer/sum_up", 0), count, at_once)

        def signals(runs: int, each: int) -> float:
            begun, ended, batch = asked.marks("waiting"), asked.marks("end"), uuid4()

            async def keep_all(run: int) -> None:
                for number in range(each):
                    await caller.call(f"signalled/{batch}-{run}/keep", number)

            times(lambda run: caller.call(f"signalled/{batch}-{run}/wait_for_all/send", each), runs, threads)
            asked.wait_until(lambda: asked.marks("waiting") >= begun + runs)

            def work() -> None:
                times(keep_all, runs, threads)
                asked.wait_until(lambda: asked.marks("end") >= ended + runs)

            return asked.seconds_of(work)

        def lanes(runs: int, is_one: int) -> float:
            ended, batch = asked.marks("end"), uuid4()

            async def start(number: int) -> None:
                await caller.call(f"lane/{batch}-{0 if is_one else number}/take_turn/send", 0)

            def work() -> None:
                times(start, runs, threads)
                asked.wait_until(lambda: asked.marks("end") >= ended + runs)

            return asked.seconds_of(work)

        def replay(count: int) -> float:
            return runner.run(caller.replay(count)) / count

        workers.start_server([given["server"]], server_settings(ports, folder))
        workers.start([sys.executable, "-m", "hypercorn", "--config", str(settings), "restate_handlers:app"])
        runner.run(caller.register())
        steps(4 * processes * threads, 5)
        asked.answer(
            {
                "steps": steps,
                "lone": lambda count: steps(1, count),
                "starts": starts,
                "latency": lambda count: asked.latency(
                    lambda: float(runner.run(caller.call("peer/stamped"))), count
                ),
                "signals": signals,
                "lanes": lanes,
                "fan_out": lambda members: asked.seconds_of(
                    lambda: runner.run(caller.call("peer/fan_out", members))
                ),
                "sleepers": lambda count, seconds: asked.sleepers(
                    lambda some, due: times(sent("peer/asleep", due), some, threads), count, seconds
                ),
                "recovery": lambda runs, count: asked.recovery(
                    workers,
                    lambda some, steps: times(sent("peer/sum_up_noted", steps), some, threads),
                    runs,
                    count,
                ),
                "replay": replay,
            }
        )


if __name__ == "__main__":
    main()
