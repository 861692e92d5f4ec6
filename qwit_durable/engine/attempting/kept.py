"""Attempts that have begun with the write of the one before them, and wait for the bell that somebody is to see.

Each is claimed already and waits for a thread of this process, behind quick steps alone: for a moment. It is named as
begun meanwhile. Whoever follows its bell takes it from here. Where nobody does, because its bell was skipped or its
worker stops, or not within a second, because others came that go before it, it is given back and counts for nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from uuid import UUID

from qwit_durable.engine.attempting.watchdog import Watched
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.foresight import Begun
from qwit_durable.errors import StoreError
from qwit_durable.stores.answers import Accepted
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Unclaim

__all__ = ["KeptAttempts"]

_logger = logging.getLogger("qwit_durable.queued")
_Key = tuple[UUID, str]
#: How long one may wait: hundreds of times as long as the few that it may wait behind need.
_PATIENCE_SECONDS = 1.0


class KeptAttempts:
    """Those of one process. Safe to use from any number of threads. `engine.attempting.watchdog.Watched`.

    Args:
        is_quick: Whether a step is, by its name.
        making: Where they are named as begun.

    Attributes:
        watch: Has somebody look whether one waits for too long.
    """

    def __init__(
        self,
        services: Services,
        is_quick: Callable[[str], bool],
        making: Holding[_Key],
        watch: Callable[[Watched], None],
    ) -> None:
        self._services = services
        self._is_quick = is_quick
        self._making = making
        self.watch = watch
        self._lock = threading.Lock()
        self._is_watched = False
        self._waiting: dict[_Key, tuple[Begun, float, float]] = {}

    def keep(self, begun: Begun, until: float) -> None:
        """Have a thread of this process make an attempt, by a bell of its own; its run may stay here until then."""
        task = begun.claimed.task
        ring = Ring(
            run_id=task.run_id,
            position=task.position,
            queue=task.queue,
            name=task.name,
            priority=task.priority,
        )
        self._waiting[begun.key] = begun, until, self._services.monotonic()
        if not self._is_watched:
            self._have_watched()
        if not self._services.bells.keep(ring, self._is_quick, partial(self._over, begun.key)):
            # Something slow has come meanwhile.
            self._give_back(begun.key, rings=True)

    def take(self, run_id: UUID, position: str) -> tuple[Begun, float] | None:
        """The attempt that a bell is for, if it is kept here, and until when its run may stay here."""
        kept = self._waiting.pop((run_id, position), None)
        return None if kept is None else kept[:2]

    def _have_watched(self) -> None:
        with self._lock:
            is_watched, self._is_watched = self._is_watched, True
        if not is_watched:
            self.watch(self)

    @property
    def due(self) -> float:
        """When the one that waits for longest has waited for long enough; at once if there is none."""
        return min((since for *_, since in list(self._waiting.values())), default=0.0) + _PATIENCE_SECONDS

    def interrupt(self) -> bool:
        """One waits for too long, or none waits."""
        now, self._is_watched = self._services.monotonic(), False
        for key, (*_, since) in list(self._waiting.items()):
            if since + _PATIENCE_SECONDS <= now:
                self._give_back(key, rings=True)
        if self._waiting:
            self._have_watched()
        return False

    def abandon(self) -> None:
        """Nothing is left to do."""

    def _over(self, key: _Key) -> None:
        if key in self._waiting:
            # Whoever has skipped its bell had a reason: the sweeper rings, less and less often.
            self._give_back(key, rings=self._services.draining.is_set())

    def _give_back(self, key: _Key, *, rings: bool) -> None:
        kept = self._waiting.pop(key, None)
        if kept is None:
            return
        begun = kept[0]
        task, services = begun.claimed.task, self._services
        write = Unclaim(
            worker=services.worker, run_id=task.run_id, position=task.position, attempt=task.attempt
        )
        try:
            answer = services.committer.write(write)
        except StoreError as error:
            _logger.warning("run %s: an attempt that was not made is not given back: %s", task.run_id, error)
        else:
            if rings and isinstance(answer, Accepted):
                services.bells.ring(answer.rings)
        finally:
            self._making.give_back(key, begun.token)
