"""Bells while a process drains: kept until its worker has stopped, or they would come straight back to it.

Where the broker is in this process, bells end with it, and a task for which one was rung counts as rung for: nobody
would look at it for seconds. So what is owed by then, and what was rung and not followed, is told to the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from qwit_durable.engine.ports import SPREAD, Bells
from qwit_durable.stores.rows import Ring

__all__ = ["DrainableBells"]


class DrainableBells:
    """`engine.ports.Bells` over others, which keeps what is rung while draining."""

    def __init__(self, bells: Bells, draining: threading.Event) -> None:
        self._bells = bells
        self._draining = draining
        self._owed: list[Ring] = []
        self._unheard: set[tuple[UUID, str]] = set()

    def ring(
        self, rings: Sequence[Ring], *, spread: int = SPREAD, alike: frozenset[str] = frozenset()
    ) -> None:
        """Ring, or keep it for `ring_owed`."""
        if self._draining.is_set():
            self._owed.extend(rings)
        else:
            self._bells.ring(rings, spread=spread, alike=alike)

    def ring_owed(self, rings: Sequence[Ring]) -> None:
        """Ring what was kept, and these."""
        owed, self._owed = [*self._owed, *rings], []
        self._bells.ring(owed)

    def miss(self, run_id: UUID, position: str) -> None:
        """A bell came that this process does not follow any more."""
        self._unheard.add((run_id, position))

    def take_unheard(self) -> frozenset[tuple[UUID, str]]:
        """What was missed, and what was kept for `ring_owed`: told once."""
        owed, self._owed = self._owed, []
        missed, self._unheard = self._unheard, set()
        return frozenset(missed.union((ring.run_id, ring.position) for ring in owed))

    def consumes(self, queue: str) -> bool:
        """Whether this process works on a queue."""
        return self._bells.consumes(queue)

    def is_busy(self) -> bool:
        """Whether other work waits in this process."""
        return self._bells.is_busy()

    def is_seen(self, queue: str, name: str) -> bool:
        """Whether somebody follows the bells of a step on a queue."""
        return self._bells.is_seen(queue, name)

    def has_room(self, queue: str, name: str, is_quick: Callable[[str], bool]) -> bool:
        """Whether one more bell would soon be followed in this process."""
        return self._bells.has_room(queue, name, is_quick)

    def goes_first(self, name: str) -> bool:
        """Whether nothing waits in this process that goes before a step."""
        return self._bells.goes_first(name)

    def keep(self, ring: Ring, is_quick: Callable[[str], bool], over: Callable[[], None]) -> bool:
        """Ring in this process alone, unless it drains."""
        return not self._draining.is_set() and self._bells.keep(ring, is_quick, over)
