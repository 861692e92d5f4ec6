"""Rounds: one bell that asks for turns of many runs, of which none waits long behind a slow one.

A bell is only a hint, so one message may name many runs, and one thread takes their turns one after another: a message
costs the broker and both sides of it as much as a short run costs here. What the thread has not begun when one run
takes longer than a moment, or the round longer than a while, is rung for again in two halves, for whichever threads
are idle; so it is when the process drains. A process that dies loses the rest of its rounds as it loses any bell: the
sweep rings.

Those that need no holder are carried on together before that (`engine.turning.glances`). All others are acquired when
their turn comes, never ahead: a holder that dies has begun what it holds, and an attempt is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from qwit_durable.clock import monotonic
from qwit_durable.stores.rows import Ring

__all__ = ["Round"]

_SLOW_SECONDS = 0.1
_LONG_SECONDS = 1.0


class Round:
    """What the thread that follows a bell has yet to begin. `engine.attempting.watchdog.Watched`, by another thread."""

    def __init__(self, rings: Sequence[Ring], ring_again: Callable[[Sequence[Ring]], None]) -> None:
        self._rest = deque(rings)
        self._ring_again = ring_again
        self._lock = threading.Lock()
        self._ends = monotonic() + _LONG_SECONDS
        self._slow_from = monotonic() + _SLOW_SECONDS

    def next(self) -> Ring | None:
        """The run to begin now; None when all are begun, here or elsewhere."""
        with self._lock:
            if not self._rest:
                return None
            self._slow_from = monotonic() + _SLOW_SECONDS
            return self._rest.popleft()

    def done(self, run_ids: Collection[UUID]) -> None:
        """These had their turns."""
        with self._lock:
            self._rest = deque(ring for ring in self._rest if ring.run_id not in run_ids)

    def give_up(self) -> None:
        """Ring again for what is not begun."""
        with self._lock:
            rest = tuple(self._rest)
            self._rest.clear()
        if rest:
            self._ring_again(rest)

    @property
    def due(self) -> float:
        """When the rest has waited for long enough, as things stand: at once if there is none."""
        return min(self._slow_from, self._ends) if self._rest else 0.0

    def interrupt(self) -> bool:
        """It is over time: others may have the rest. The run under way is none of it."""
        self.give_up()
        return False

    def abandon(self) -> None:
        """Nothing is left to do."""
