"""Removing runs that have ended: what is looked for, what is written, and the access that stores give.

Finding is reading: a walk over runs in the order of their ids, which begin with their times, a page at a time, locking
nothing. Removing names the runs that were found and looks at them again, under the locks of their users' ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import attrs

from qwit_durable.core import Status

__all__ = ["Aged", "Prune", "Pruned", "PruningReader", "PruningSession"]


@attrs.frozen(kw_only=True)
class Aged:
    """What has to be known of an old run to tell whether it is to go. `ended_at` is None while it is open."""

    id: UUID
    namespace: str
    key: str
    workflow: str
    parent_id: UUID | None
    status: Status | None
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class Prune:
    """Remove runs that ended before a moment, each with all its sub-workflows and everything that was stored of them.

    One that is open, ended later, or has an open run below it is left alone. Sub-workflows go before who called them,
    at most `limit` runs at once: a tree that is larger takes several writes, and its root goes with the last one.

    Attributes:
        roots: Each with the id under which users know it; that id is free afterwards, unless it stands for another run.
    """

    namespace: str
    roots: tuple[tuple[UUID, str], ...]
    ended_before: datetime
    limit: int = 1000


@attrs.frozen(kw_only=True)
class Pruned:
    """How many runs were removed, and how many of them were roots; `more` tells that the limit was reached."""

    roots: int = 0
    runs: int = 0
    more: bool = False


class PruningSession(Protocol):
    """Part of `stores.session.Session`."""

    def children_of(self, run_ids: Sequence[UUID]) -> Sequence[tuple[UUID, UUID]]:
        """The runs that these have called, open or not, in the order of their ids, each with its tree's root."""
        ...

    def open_among(self, run_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of them that have a live row."""
        ...

    def drop_runs(self, run_ids: Sequence[UUID]) -> None:
        """Remove all rows of these runs."""
        ...

    def drop_key(self, namespace: str, key: str) -> None:
        """Let a user's id stand for no run."""
        ...


class PruningReader(Protocol):
    """Part of `stores.protocol.Reader`."""

    def aged(self, after: UUID | None, until: UUID, limit: int) -> Sequence[Aged]:
        """The runs of all namespaces whose ids lie after one and before another, in order."""
        ...
