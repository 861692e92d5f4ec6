"""DBOS over Postgres."""

from __future__ import annotations

from benchmarks.peers.installed import pinned, python_of
from benchmarks.peers.peer import Servers
from benchmarks.peers.spoken import Spoken


class DBOSWorkflows(Spoken):
    """`@DBOS.workflow` and `@DBOS.step`."""

    name = "DBOS"
    version = pinned("dbos", "dbos")
    settings = (
        "its tutorial: workflows called where they are, in each process by as many threads, pool of 20 connections "
        "and pre-ping as shipped; as fast here as start_workflow, faster than a queue, which is polled"
    )
    scenarios = frozenset({"steps", "lone"})

    def _start(self, servers: Servers, processes: int, threads: int) -> None:
        url, python = self._own_database(servers), python_of("dbos")
        self._begin(python, "dbos_workflows.py", processes=processes, threads=threads, postgres=url)
