"""Everything in one file, for a single machine."""

from __future__ import annotations

from qwit_durable.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
