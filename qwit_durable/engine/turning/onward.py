"""How one thread goes on after a turn: what the turn leads to, and for how long the thread follows that.

A sub-workflow goes on with its parent, a parent with its sub-workflow, a lane with its next run, and that with the one
behind it. Others may wait for the thread meanwhile, so all that follows from one bell has one slice of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs

from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Services
from qwit_durable.stores.answers import Acquired
from qwit_durable.stores.rows import TURN, Ring

__all__ = ["Onward", "Slice"]


class Slice:
    """The time that a thread has for one bell; it ends only where other work waits, or when the process drains."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._until = monotonic() + services.settings.time_slice.total_seconds()

    @property
    def is_over(self) -> bool:
        """Whether others go first from now on."""
        services = self._services
        return services.draining.is_set() or (monotonic() > self._until and services.bells.is_busy())


@attrs.frozen
class Onward:
    """What a turn leads to: the bells that are owed, and a run whose turn is this thread's already."""

    rings: Sequence[Ring] = ()
    acquired: Acquired | None = None

    def divided(self, slice_: Slice, services: Services) -> tuple[Acquired | UUID | None, list[Ring]]:
        """What this thread goes on with, and the bells for others."""
        following: Acquired | UUID | None = self.acquired
        for_others: list[Ring] = []
        for ring in self.rings:
            is_mine = following is None and ring.position == TURN and not slice_.is_over
            if is_mine and services.bells.consumes(ring.queue):
                following = ring.run_id
            else:
                for_others.append(ring)
        return following, for_others
