"""Absurd over Postgres."""

from __future__ import annotations

from benchmarks.peers.installed import pinned, python_of
from benchmarks.peers.peer import Servers
from benchmarks.peers.spoken import Spoken


class AbsurdTasks(Spoken):
    """Tasks of `ctx.step`."""

    name = "Absurd"
    version = pinned("absurd", "absurd-sdk")
    settings = (
        "many workers on one queue, each thread with a client and so a connection of its own (one client with "
        "concurrency=8 shares one: a third as fast), poll_interval 0.05 s instead of 0.25; lone by work_batch"
    )
    scenarios = frozenset({"steps", "lone"})

    def _start(self, servers: Servers, processes: int, threads: int) -> None:
        url, python = self._own_database(servers), python_of("absurd")
        self._begin(python, "absurd_tasks.py", processes=processes, threads=threads, postgres=url)
