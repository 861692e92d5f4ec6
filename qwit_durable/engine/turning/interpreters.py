"""Live interpreters, kept between the turns of a run, so that a run pays for new events only; and fresh ones.

A kept one is good for a turn whose events begin where it stands, or before: `Hold` feeds it what it has not seen. One
that stands elsewhere, because another thread or another process has had the run meanwhile, stays until the turn puts
its own in its place. An entry is taken out while it is used, so no two threads ever drive one generator. Eviction
closes the generator and costs a replay, never an outcome: room for none is a test mode.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from uuid import UUID

from qwit_durable.core import Interpreter
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.stores.rows import RunRow

__all__ = ["Interpreters"]


class Interpreters:
    """Those of one process: a bounded map from run to interpreter, the least recently used out first.

    Args:
        programs: Makes fresh ones.
        room: For so many.
    """

    def __init__(self, programs: Programs, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._kept: OrderedDict[UUID, Interpreter] = OrderedDict()
        self.fresh = programs.interpreter

    def known(self, run_id: UUID) -> tuple[int, int]:
        """The generation of the run's kept interpreter and the head it has seen: (0, 0) if none is kept."""
        with self._lock:
            kept = self._kept.get(run_id)
            return (0, 0) if kept is None else (kept.generation, kept.head)

    def take(self, run: RunRow, generation: int, *, since: int, head: int) -> Interpreter | None:
        """An interpreter of that generation to be fed up to `head`, where the events after `since` are at hand.

        None if this process has none that has seen those before, and could make none without them.

        Raises:
            UnknownName: This process does not know the workflow.
        """
        with self._lock:
            kept = self._kept.get(run.id)
            if kept is not None and kept.generation == generation and since <= kept.head <= head:
                return self._kept.pop(run.id)
        return None if since else self.fresh(run, generation)

    def put(self, run_id: UUID, interpreter: Interpreter) -> None:
        """Keep an interpreter; close what it replaces and what falls out."""
        with self._lock:
            out = [self._kept.pop(run_id, None)]
            self._kept[run_id] = interpreter
            while len(self._kept) > self._room:
                out.append(self._kept.popitem(last=False)[1])
        for entry in out:
            if entry is not None:
                entry.close()

    def drop(self, run_id: UUID) -> None:
        """Close what is kept of a run."""
        with self._lock:
            kept = self._kept.pop(run_id, None)
        if kept is not None:
            kept.close()

    def clear(self) -> None:
        """Close all."""
        with self._lock:
            kept = list(self._kept.values())
            self._kept.clear()
        for entry in kept:
            entry.close()

    def __len__(self) -> int:
        return len(self._kept)
