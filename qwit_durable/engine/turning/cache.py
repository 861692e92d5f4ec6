"""Live interpreters kept between the turns of a run, so that a run pays for new events only.

An entry is taken out while a turn uses it, so no two threads ever drive one generator. Eviction closes the generator
and costs a replay, never an outcome: a cache of size 0 is a test mode.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from uuid import UUID

from qwit_durable.core import Interpreter

__all__ = ["InterpreterCache"]


class InterpreterCache:
    """A bounded map from run to interpreter, the least recently used out first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[UUID, Interpreter] = OrderedDict()

    def take(self, run_id: UUID) -> Interpreter | None:
        """Remove and answer the run's interpreter, if it is kept."""
        with self._lock:
            return self._entries.pop(run_id, None)

    def known(self, run_id: UUID) -> tuple[int, int]:
        """The generation of the run's kept interpreter and the head it has seen: (0, 0) if none is kept."""
        with self._lock:
            entry = self._entries.get(run_id)
            return (0, 0) if entry is None else (entry.generation, entry.head)

    def put(self, run_id: UUID, interpreter: Interpreter) -> None:
        """Keep an interpreter; close what it replaces and what falls out."""
        with self._lock:
            out = [self._entries.pop(run_id, None)]
            self._entries[run_id] = interpreter
            while len(self._entries) > self._size:
                out.append(self._entries.popitem(last=False)[1])
        for entry in out:
            if entry is not None:
                entry.close()

    def clear(self) -> None:
        """Close all."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            entry.close()

    def __len__(self) -> int:
        return len(self._entries)
