"""Bells while a process drains: kept until its worker has stopped, or they would come straight back to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from qwit_durable.engine.ports import SPREAD, Bells
from qwit_durable.stores.rows import Ring

__all__ = ["DrainableBells"]


class DrainableBells:
    """`engine.ports.Bells` over others, which keeps what is rung while draining."""

    def __init__(self, bells: Bells, draining: threading.Event) -> None:
        self._bells = bells
        self._draining = draining
        self._owed: list[Ring] = []

    def ring(self, rings: Sequence[Ring], *, spread: int = SPREAD) -> None:
        """Ring, or keep it for `ring_owed`."""
        if self._draining.is_set():
            self._owed.extend(rings)
        else:
            self._bells.ring(rings, spread=spread)

    def ring_owed(self, rings: Sequence[Ring]) -> None:
        """Ring what was kept, and these."""
        owed, self._owed = [*self._owed, *rings], []
        self._bells.ring(owed)

    def consumes(self, queue: str) -> bool:
        """Whether this process works on a queue."""
        return self._bells.consumes(queue)

    def is_busy(self) -> bool:
        """Whether other work waits in this process."""
        return self._bells.is_busy()
