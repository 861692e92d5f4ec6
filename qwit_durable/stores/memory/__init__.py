"""Everything in memory, for tests and for trying things out: it ends with the process."""

from __future__ import annotations

from qwit_durable.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
