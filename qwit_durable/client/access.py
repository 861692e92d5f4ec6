"""What clients work with: reading, writing, ringing, and being told of runs that end in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
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
    """Tells those who wait for a run that it has ended in this process: a hint, the store has the truth."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[UUID, list[Callable[[], object]]] = {}

    def ended(self, run_id: UUID) -> None:
        """A run has ended here, and the store knows."""
        # Whoever begins to watch after this look will see in the store that it has.
        if run_id in self._watches:
            with self._lock:
                watches = [*self._watches.get(run_id, ())]
            for tell in watches:
                tell()

    def refuse_to_wait(self) -> None:
        """Called by who is about to wait for an end for as long as that takes; raises where none can come meanwhile."""

    @contextmanager
    def watch(self, run_id: UUID, tell: Callable[[], object]) -> Generator[None]:
        """Be told when a run ends here, from another thread, until the block ends; now and then once after it."""
        with self._lock:
            self._watches.setdefault(run_id, []).append(tell)
        try:
            yield
        finally:
            with self._lock:
                watches = self._watches[run_id]
                watches.remove(tell)
                if not watches:
                    del self._watches[run_id]


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

    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        """Carry out some writes in as few batches as can be; the answer to each, or why it has none."""
        ...

    def begin(self, write: Start) -> Answer:
        """Carry out a start; a thread of this process that is idle has the run's first turn by the same write."""
        ...

    def start_within(self, connection: object, write: Start) -> Answer:
        """Carry out a start in the caller's transaction."""
        ...

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring bells; never raises."""
        ...
