"""What a process remembers of a store: runs as they were started, and where its sweeps begin."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from qwit_durable.stores.rows import RunRow
from qwit_durable.stores.sql.walks import Walks

__all__ = ["RunCache"]

_CACHED_RUNS = 2000
_CACHED_ARGS_BYTES = 8192


class RunCache:
    """Runs as they were started: they never change, so a process reads each once. Holds committed rows only."""

    def __init__(self) -> None:
        self._runs: OrderedDict[UUID, RunRow] = OrderedDict()
        self.walks = Walks()

    def get(self, run_id: UUID) -> RunRow | None:
        """The run, if it is known."""
        return self._runs.get(run_id)

    def add(self, row: RunRow) -> None:
        """Take down a run that is in the store."""
        if len(row.args) <= _CACHED_ARGS_BYTES:
            self._runs[row.id] = row
            if len(self._runs) > _CACHED_RUNS:
                self._runs.popitem(last=False)

    def drop(self, run_ids: Sequence[UUID]) -> None:
        """Forget runs that are removed."""
        for run_id in run_ids:
            self._runs.pop(run_id, None)
