"""Removing runs from the store in memory, and finding those that are old."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from qwit_durable.stores.pruning import Aged

if TYPE_CHECKING:
    from qwit_durable.stores.memory.rows import MemoryRows

__all__ = ["MemoryPruning", "MemoryPruningReader"]


class MemoryPruning:
    """`stores.pruning.PruningSession` over dictionaries."""

    _rows: MemoryRows

    def children_of(self, run_ids: Sequence[UUID]) -> Sequence[tuple[UUID, UUID]]:
        found = sorted(child for run_id in run_ids for child in self._rows.children.get(run_id, ()))
        return [(child, self._rows.run[child].root_id) for child in found]

    def open_among(self, run_ids: Sequence[UUID]) -> Sequence[UUID]:
        return [run_id for run_id in run_ids if run_id in self._rows.live]

    def drop_runs(self, run_ids: Sequence[UUID]) -> None:
        rows, gone = self._rows, set(run_ids)
        for run_id in run_ids:
            run = rows.run.get(run_id)
            if run is not None and run.parent_id is not None:
                siblings = rows.children.get(run.parent_id, ())
                rows.children.put(run.parent_id, tuple(one for one in siblings if one != run_id))
            for of_run in (rows.run, rows.outcome, rows.children, rows.history, rows.place):
                of_run.drop(run_id)
        for table in (rows.signal, rows.published, rows.task, rows.timer):
            for key in [key for key in table if key[0] in gone]:
                table.drop(key)

    def drop_key(self, namespace: str, key: str) -> None:
        self._rows.key.drop((namespace, key))


class MemoryPruningReader:
    """`stores.pruning.PruningReader` over dictionaries."""

    _rows: MemoryRows
    _lock: threading.Lock

    def aged(self, after: UUID | None, until: UUID, limit: int) -> Sequence[Aged]:
        with self._lock:
            rows = self._rows
            found = sorted(one for one in rows.run if one < until and (after is None or one > after))
            return [self._aged(run_id) for run_id in found[:limit]]

    def _aged(self, run_id: UUID) -> Aged:
        run, outcome = self._rows.run[run_id], self._rows.outcome.get(run_id)
        return Aged(
            id=run_id,
            namespace=run.namespace,
            key=run.key,
            workflow=run.workflow,
            parent_id=run.parent_id,
            status=None if outcome is None else outcome.status,
            ended_at=None if outcome is None else outcome.ended_at,
        )
