"""A plain Dramatiq actor that enqueues its successor: what users have without durability."""

from __future__ import annotations

import sys
from importlib.metadata import version

from benchmarks.peers.peer import Servers
from benchmarks.peers.spoken import Spoken


class PlainDramatiq(Spoken):
    """Dramatiq is in our own environment, so nothing is installed."""

    name = "plain Dramatiq chain"
    version = version("dramatiq")
    settings = "defaults, as its guide has it: RedisBroker, prefetch of 2 x threads, no retries, no results"
    scenarios = frozenset({"steps", "lone", "queued"})

    def _start(self, servers: Servers, processes: int, threads: int) -> None:
        corner = self._own_corner(servers)
        self._begin(
            sys.executable, "dramatiq_chain.py", processes=processes, threads=threads, environment=corner
        )
