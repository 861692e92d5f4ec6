"""The peers, each set as its documents advise. `README.md` says what is set why, and what a peer has not."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType

from benchmarks.peers.installed import pinned
from benchmarks.peers.peer import System

__all__ = ["PEERS"]

_STEPS = {"inline", "lone", "lengths", "threads", "starts", "latency", "fan-out", "sleepers", "idle"}
_DURABLE = _STEPS | {"signals", "recovery", "replay"}
_RESTATE_SERVER = ("@restatedev/restate-server", "1.7.12", "restate-server")

#: By the name that a command line takes.
PEERS: Mapping[str, System] = MappingProxyType(
    {
        "dramatiq": System(
            name="plain Dramatiq chain",
            version=version("dramatiq"),
            settings="as its guide has it: RedisBroker, prefetch of 2 x threads, no retries, results for groups",
            scenarios=frozenset(_STEPS),
            program="dramatiq_chain.py",
            needs="redis",
        ),
        "celery": System(
            name="Celery chain",
            version=pinned("celery", "celery"),
            settings=(
                "guide to optimizing, lots of short tasks: prefetch multiplier 64, results for groups only, no rate "
                "limits, gossip, mingle or heartbeat; thread pool, the fastest of threads, prefork and solo here"
            ),
            scenarios=frozenset(_STEPS | {"queued"}),
            program="celery_chain.py",
            requirements="celery",
            needs="redis",
        ),
        "dbos": System(
            name="DBOS",
            version=pinned("dbos", "dbos"),
            settings=(
                "its tutorial: workflows called where they are, in each process by as many threads, pool of 20 "
                "connections and pre-ping as shipped; queues, where one is needed, polled each 0.02 s, not each second"
            ),
            scenarios=frozenset(_DURABLE | {"lanes"}),
            program="dbos_workflows.py",
            requirements="dbos",
            needs="postgres",
            options={"poll_seconds": 0.02},
        ),
        "absurd": System(
            name="Absurd",
            version=pinned("absurd", "absurd-sdk"),
            settings=(
                "many workers on one queue, each thread with a client and so a connection of its own (one client with "
                "concurrency=8 shares one: a third as fast), poll_interval 0.05 s instead of 0.25, claim_timeout 10 s "
                "(our lease) instead of 120; lone and the parent of a fan-out by work_batch"
            ),
            scenarios=frozenset(_DURABLE),
            program="absurd_tasks.py",
            requirements="absurd",
            needs="postgres",
            options={"poll_seconds": 0.05, "claim_seconds": 10},
            at_rest={"poll_seconds": 0.25, "claim_seconds": 120},
        ),
        "restate": System(
            name="Restate",
            version=f"{_RESTATE_SERVER[1]}, SDK {pinned('restate', 'restate-sdk')}",
            settings=(
                "hypercorn with the production settings of its page on serving, a worker a process, coroutine steps; "
                "a single node with one partition (24 by default cost twice the CPU), fsync as shipped, no telemetry"
            ),
            scenarios=frozenset(_DURABLE | {"lanes"}),
            program="restate_handlers.py",
            requirements="restate",
            server=_RESTATE_SERVER,
        ),
    }
)
