"""A Celery chain over Redis."""

from __future__ import annotations

from benchmarks.peers.installed import pinned, python_of
from benchmarks.peers.peer import Servers
from benchmarks.peers.spoken import Spoken


class CeleryChain(Spoken):
    """One `chain` a workflow; each link is a message that carries the rest of the chain."""

    name = "Celery chain"
    version = pinned("celery", "celery")
    settings = (
        "guide to optimizing, lots of short tasks: prefetch multiplier 64, results ignored, no rate limits, gossip, "
        "mingle or heartbeat; thread pool, the fastest of threads, prefork and solo here"
    )
    scenarios = frozenset({"steps", "lone", "queued"})

    def _start(self, servers: Servers, processes: int, threads: int) -> None:
        corner, python = self._own_corner(servers), python_of("celery")
        self._begin(python, "celery_chain.py", processes=processes, threads=threads, environment=corner)
