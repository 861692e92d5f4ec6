"""Access to the rows of lanes, within a transaction: what `stores.session` is for all others.

A lane is locked by its name, there or not, after all live rows; whoever changes a lane or a place in it holds that
lock. Nothing here decides anything: `stores.kernel.lanes` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from qwit_durable.stores.rows import LaneRow, PlaceRow

__all__ = ["LaneKey", "Lanes"]

#: A namespace, and the name of a lane in it.
LaneKey = tuple[str, str]


class Lanes(Protocol):
    """Lanes and the places in them."""

    def lock(self, keys: Iterable[LaneKey]) -> None:
        """Lock lanes until the transaction ends, in the order of their keys; those that are locked stay so."""
        ...

    def get(self, key: LaneKey) -> LaneRow | None:
        """A lane, locked; None if nobody is in it."""
        ...

    def head(self, key: LaneKey) -> UUID | None:
        """The run at the head of a lane, without locking it.

        Whoever holds the live row of that run may rely on it: a head leaves under the lock of its own live row.
        """
        ...

    def put(self, row: LaneRow) -> None:
        """Insert or replace a lane that is locked."""
        ...

    def drop(self, key: LaneKey) -> None:
        """Remove a lane that is locked."""
        ...

    def place(self, run_id: UUID) -> PlaceRow | None:
        """The place of a run that waits."""
        ...

    def next_place(self, lane: LaneRow) -> PlaceRow:
        """The first place behind the head of a locked lane in which somebody waits."""
        ...

    def put_place(self, row: PlaceRow) -> None:
        """Insert a place."""
        ...

    def drop_place(self, row: PlaceRow) -> None:
        """Remove a place."""
        ...
