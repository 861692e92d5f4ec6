"""Waiting awake for the answer to a write that goes alone: adaptive spinning, as locks and hypervisors do it.

While the commit of a run that is alone is under way, nobody here has anything to do. A core that falls asleep meanwhile
wakes slowly and with cold caches, which costs a quarter of such a step. So for a moment the answer is looked for again
and again, giving way to whoever wants the core. Nobody does so where commits take longer than that moment, nor where
this process may not use two cores, nor where the store's URL forbids it.
"""

from __future__ import annotations

import os
import select

from qwit_durable.clock import monotonic
from qwit_durable.stores.processes import cores

__all__ = ["Wakefulness"]

#: A commit on a near server takes 0.2 to 0.3 ms.
_MOMENT_SECONDS = 0.0006
#: So often nobody waits awake when that was too short, and how often at most if it always is.
_FEW, _MANY = 16, 4096


class Wakefulness:
    """Whether to wait awake for what comes from a socket, and how.

    Args:
        socket: Its number.
        can_spare: Whether there is a core for it; as many as this process may use tell, if nobody does.
    """

    def __init__(self, socket: int, *, can_spare: bool | None = None) -> None:
        self._readable = select.poll()
        self._readable.register(socket, select.POLLIN)
        self._can_spare = cores() >= 2 if can_spare is None else can_spare  # noqa: PLR2004 - this one and the server's
        self._pauses = _FEW
        self._sleeps = 0

    @property
    def pays(self) -> bool:
        """Whether the next wait is likely to be short."""
        if self._sleeps:
            self._sleeps -= 1
        return self._can_spare and not self._sleeps

    def wait(self) -> bool:
        """Wait until something is there, or for a moment; tell which."""
        until = monotonic() + _MOMENT_SECONDS
        look = self._readable.poll
        while not look(0):
            if monotonic() > until:
                self._sleeps = self._pauses
                self._pauses = min(self._pauses * 2, _MANY)
                return False
            os.sched_yield()
        self._pauses = _FEW
        return True
