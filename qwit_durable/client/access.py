"""What clients work with: reading, writing, ringing, and being told of runs that end in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from qwit_durable.clock import Clock
from qwit_durable.observers.base import Observer
from qwit_durable.registry import Registry
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Start, Write

__all__ = ["Access", "Endings"]


class Endings:
    """Tells waiting threads that some run has ended in this process: a hint, the store has the truth."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def ended(self, run_id: UUID) -> None:
        """A run has ended here."""
        _ = run_id
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    @property
    def count(self) -> int:
        """How many runs have ended here."""
        return self._count

    def wait(self, seen: int, timeout_seconds: float) -> None:
        """Return when more than `seen` runs have ended here, or after the timeout."""
        with self._condition:
            if self._count == seen:
                self._condition.wait(timeout_seconds)


class Access(Protocol):
    """One namespace of one store, from a client's side."""

    namespace: str
    registry: Registry
    endings: Endings

    @property
    def observers(self) -> Sequence[Observer]:
        """Told of what this process commits."""
        ...

    @property
    def clock(self) -> Clock:
        """The time on this side."""
        ...

    @property
    def reader(self) -> Reader:
        """The store, opened."""
        ...

    @property
    def limit_bytes(self) -> int:
        """The largest value, encoded."""
        ...

    @property
    def can_ring(self) -> bool:
        """Whether this process knows a broker; if not, workers learn of things from the sweep."""
        ...

    def write(self, write: Write) -> Answer:
        """Carry out one write."""
        ...

    def start_within(self, connection: object, write: Start) -> Answer:
        """Carry out a start in the caller's transaction."""
        ...

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring bells; never raises."""
        ...
