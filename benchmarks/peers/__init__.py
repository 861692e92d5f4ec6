"""The systems that we are measured against, each in processes and an environment of its own. See `README.md` here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.peers.absurd_tasks import AbsurdTasks
from benchmarks.peers.celery_chain import CeleryChain
from benchmarks.peers.dbos_workflows import DBOSWorkflows
from benchmarks.peers.peer import Peer, PeerMissing, Servers
from benchmarks.peers.plain_dramatiq import PlainDramatiq
from benchmarks.peers.restate_handlers import RestateHandlers

#: By the name that a command line takes.
PEERS: Mapping[str, type[Peer]] = MappingProxyType(
    {
        "dramatiq": PlainDramatiq,
        "celery": CeleryChain,
        "dbos": DBOSWorkflows,
        "absurd": AbsurdTasks,
        "restate": RestateHandlers,
    }
)

__all__ = ["PEERS", "Peer", "PeerMissing", "Servers"]
