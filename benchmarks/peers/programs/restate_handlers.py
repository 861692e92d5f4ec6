"""Restate: a handler of `ctx.run_typed`, which hypercorn serves. The program starts Restate's server too."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import asked
import httpx
import restate

HOST = "127.0.0.1"
_READY_SECONDS = 60

#: As the SDK's page on serving advises for production; `workers` comes with the number of processes.
HYPERCORN = """
bind = "{host}:{port}"
workers = {workers}
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
"""

peer = restate.Service("peer")


async def add_one(x: int) -> int:
    """A coroutine: the SDK hands plain functions to a thread."""
    return x + 1


@peer.handler()
async def sum_up(ctx: restate.Context, count: int) -> int:
    x = 0
    for _ in range(count):
        x = await ctx.run_typed("add_one", add_one, restate.RunOptions(type_hint=int), x=x)
    return x


#: What hypercorn's workers load.
app = restate.app(services=[peer])


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

    async def steps(self, runs: int, count: int) -> float:
        began = perf_counter()
        await asyncio.gather(*(self._call(count) for _ in range(runs)))
        return perf_counter() - began

    async def _call(self, count: int) -> None:
        answer = await self._http.post(f"http://{HOST}:{self._ports.ingress}/peer/sum_up", json=count)
        answer.raise_for_status()
        assert answer.json() == count


def main() -> None:
    given = asked.given()
    folder, ports = Path(given["folder"]), Ports()
    settings = folder / "hypercorn.toml"
    settings.write_text(HYPERCORN.format(host=HOST, port=ports.handlers, workers=given["processes"]))
    http = httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None))
    caller = Caller(http, ports)
    with asked.Workers() as workers, asyncio.Runner() as runner:

        def steps(runs: int, count: int) -> float:
            return runner.run(caller.steps(runs, count))

        workers.start([given["server"]], {**os.environ, **server_settings(ports, folder)})
        hypercorn = [sys.executable, "-m", "hypercorn", "--config", str(settings)]
        workers.start([*hypercorn, "restate_handlers:app"])
        runner.run(caller.register())
        steps(4 * given["processes"] * given["threads"], 5)
        asked.answer({"steps": steps, "lone": lambda count: steps(1, count)})


if __name__ == "__main__":
    main()
