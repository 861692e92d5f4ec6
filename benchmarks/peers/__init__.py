"""The systems that we are measured against, each in processes and an environment of its own. See `README.md` here."""

from __future__ import annotations

from benchmarks.peers.peer import PeerFailed, PeerLate, PeerMissing, Servers, System
from benchmarks.peers.spoken import Peer
from benchmarks.peers.systems import PEERS

__all__ = ["PEERS", "Peer", "PeerFailed", "PeerLate", "PeerMissing", "Servers", "System"]
