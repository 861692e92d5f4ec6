"""Removing runs over SQL, and finding those that are old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from qwit_durable.core import Status
from qwit_durable.stores.pruning import Aged
from qwit_durable.stores.sql.dialect import Dialect, Statements, marks
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.reading import SqlReading
from qwit_durable.stores.sql.table import Columns

if TYPE_CHECKING:
    from qwit_durable.stores.sql.cache import RunCache

__all__ = ["SqlPruning", "SqlPruningReader"]

_BELONGING = ("event", "outcome", "signal", "published", "task", "timer", "place")


class SqlPruning:
    """`stores.pruning.PruningSession`: a session inherits from this."""

    _dialect: Dialect
    _statements: Statements
    _cache: RunCache
    _keys: Mapped[tuple[str, str], Any]
    _runs: Mapped[UUID, Any]
    _outcomes: Mapped[UUID, Any]
    flush: Callable[[], None]

    def children_of(self, run_ids: Sequence[UUID]) -> Sequence[tuple[UUID, UUID]]:
        out = self._dialect.id_out
        rows = self._among("SELECT id, root_id FROM {run} WHERE parent_id IN (%s) ORDER BY id", run_ids)
        return [(out(run_id), out(root_id)) for run_id, root_id in rows]

    def open_among(self, run_ids: Sequence[UUID]) -> Sequence[UUID]:
        rows = self._among("SELECT run_id FROM {live} WHERE run_id IN (%s)", run_ids)
        return [self._dialect.id_out(row[0]) for row in rows]

    def drop_runs(self, run_ids: Sequence[UUID]) -> None:
        self.flush()
        d = self._dialect
        ids = [d.id_in(run_id) for run_id in run_ids]
        listed = marks(len(ids))
        named = [f"DELETE FROM {{{table}}} WHERE run_id IN ({listed})" for table in _BELONGING]
        named.append(f"DELETE FROM {{run}} WHERE id IN ({listed})")
        self._statements.many([(d.sql(sql), [ids]) for sql in named] if ids else [])
        self._runs.forget(run_ids)
        self._outcomes.forget(run_ids)
        self._cache.drop(run_ids)

    def drop_key(self, namespace: str, key: str) -> None:
        self._keys.drop((namespace, key))

    def _among(self, sql: str, run_ids: Sequence[UUID]) -> Sequence[Columns]:
        self.flush()
        d = self._dialect
        return self._statements.rows(d.sql(sql % marks(len(run_ids))), [*map(d.id_in, run_ids)])


class SqlPruningReader(SqlReading):
    """`stores.pruning.PruningReader`: a reader inherits from this."""

    def aged(self, after: UUID | None, until: UUID, limit: int) -> Sequence[Aged]:
        d = self._tables.dialect
        beyond = "" if after is None else "AND id > ? "
        sql = (
            "SELECT run.id, run.namespace, run.key, run.workflow, run.parent_id, outcome.status, outcome.ended_at "
            f"FROM (SELECT * FROM {{run}} WHERE id < ? {beyond}ORDER BY id LIMIT ?) AS run "
            "LEFT JOIN {outcome} AS outcome ON outcome.run_id = run.id ORDER BY run.id"
        )
        bounds = [d.id_in(until), *(() if after is None else (d.id_in(after),)), limit]
        return [
            Aged(
                id=d.id_out(run_id),
                namespace=namespace,
                key=key,
                workflow=workflow,
                parent_id=d.maybe_id_out(parent_id),
                status=None if status is None else Status(status),
                ended_at=d.maybe_time_out(ended_at),
            )
            for run_id, namespace, key, workflow, parent_id, status, ended_at in self._rows(
                d.sql(sql), bounds
            )
        ]
