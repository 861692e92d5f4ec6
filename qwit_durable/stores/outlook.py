"""What the sweep asks before it writes anything: what is due, when the next will be, and what nobody looks after.

A few questions, each one cheap statement, whatever is asleep: that is all that waiting costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import attrs

__all__ = ["Outlook", "OutlookReader", "Walk"]


@attrs.frozen(kw_only=True)
class Outlook:
    """When there is something to do next. None stands for never.

    Attributes:
        now: The store's time.
        timer_at: The next timer is due.
        ring_at: The next bell is owed.
        schedule_at: The next schedule is due.
        has_dead: Whether a worker that has a row is dead.
    """

    now: datetime
    timer_at: datetime | None = None
    ring_at: datetime | None = None
    schedule_at: datetime | None = None
    has_dead: bool = False


@attrs.frozen(kw_only=True)
class Walk:
    """A stretch of a walk over the open runs.

    Attributes:
        last: Where it ended, for `after` of the next stretch; None at the end of all.
        orphans: The runs in it that are held by a worker without a row.
        mine: Those that are held by the one who walks.
    """

    last: UUID | None = None
    orphans: tuple[UUID, ...] = ()
    mine: tuple[UUID, ...] = ()


class OutlookReader(Protocol):
    """Part of `stores.protocol.Reader`."""

    def outlook(self) -> Outlook:
        """What is due."""
        ...

    def walk(self, after: UUID | None, limit: int, worker: int) -> Walk:
        """Look at the next so many open runs, in the order of their ids, for a worker."""
        ...

    def claimed(self, worker: int) -> Sequence[tuple[UUID, str]]:
        """The tasks a worker is in the middle of."""
        ...

    def unbegun(self, tasks: Sequence[tuple[UUID, str]]) -> int:
        """How many of these tasks are there and belong to nobody."""
        ...
