"""Restate: its own server, and handlers served by hypercorn."""

from __future__ import annotations

from benchmarks.peers.installed import npm_program, pinned, python_of
from benchmarks.peers.peer import Servers
from benchmarks.peers.spoken import Spoken

_PACKAGE = "@restatedev/restate-server"
_SERVER_VERSION = "1.7.12"


class RestateHandlers(Spoken):
    """A service's handler of `ctx.run_typed`. It brings its own store, so it needs none of our servers."""

    name = "Restate"
    version = f"{_SERVER_VERSION}, SDK {pinned('restate', 'restate-sdk')}"
    settings = (
        "hypercorn with the production settings of its page on serving, a worker a process, coroutine steps; a single "
        "node with one partition (24 by default cost twice the CPU), fsync as shipped, no telemetry"
    )
    scenarios = frozenset({"steps", "lone"})

    def _start(self, servers: Servers, processes: int, threads: int) -> None:  # noqa: ARG002 - the seam of all peers
        python = python_of("restate")
        server = npm_program(_PACKAGE, _SERVER_VERSION, "restate-server")
        self._begin(python, "restate_handlers.py", processes=processes, threads=threads, server=server)
