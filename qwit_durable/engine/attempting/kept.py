"""Attempts that have begun with the write of the one before them, and wait for the bell that somebody is to see.

Each is claimed already and waits for a thread of this process, behind quick steps alone: for a moment. It is named as
begun meanwhile. Whoever follows its bell takes it from here. Where nobody does, because its bell was skipped or its
worker stops, it is given back and counts for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from uuid import UUID

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


class KeptAttempts:
    """Those of one process. Safe to use from any number of threads.

    Args:
        is_quick: Whether a step is, by its name.
        making: Where they are named as begun.
    """

    def __init__(self, services: Services, is_quick: Callable[[str], bool], making: Holding[_Key]) -> None:
        self._services = services
        self._is_quick = is_quick
        self._making = making
        self._waiting: dict[_Key, tuple[Begun, float]] = {}

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
        self._waiting[begun.key] = begun, until
        if not self._services.bells.keep(ring, self._is_quick, partial(self._over, begun.key)):
            # Something slow has come meanwhile.
            self._give_back(begun.key, rings=True)

    def take(self, run_id: UUID, position: str) -> tuple[Begun, float] | None:
        """The attempt that a bell is for, if it is kept here, and until when its run may stay here."""
        return self._waiting.pop((run_id, position), None)

    def _over(self, key: _Key) -> None:
        if key in self._waiting:
            # Whoever has skipped its bell had a reason: the sweeper rings, less and less often.
            self._give_back(key, rings=self._services.draining.is_set())

    def _give_back(self, key: _Key, *, rings: bool) -> None:
        begun, _ = self._waiting.pop(key, (None, 0.0))
        if begun is None:
            return
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
