"""`stores.protocol.Reader` over SQL: each answer comes from one statement, so it is consistent, and none locks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from qwit_durable.core import OPEN, Status
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.answers import Acquired
from qwit_durable.stores.protocol import Known, RunQuery
from qwit_durable.stores.rows import (
    InHand,
    LaneRow,
    PublishedRow,
    Recorded,
    RunView,
    TaskRow,
    TimerRow,
    WorkerRow,
)
from qwit_durable.stores.sql.dialect import marks
from qwit_durable.stores.sql.outlook import SqlOutlookReader
from qwit_durable.stores.sql.pruning import SqlPruningReader
from qwit_durable.stores.sql.schedules import SqlScheduleReader
from qwit_durable.stores.sql.table import Columns
from qwit_durable.stores.sql.tables import EVENT_COLUMNS

__all__ = ["SqlReader"]

_IN_HAND = (
    "SELECT owner, count(*), 0, min(updated_at) FROM {live} WHERE owner IS NOT NULL GROUP BY owner "
    "UNION ALL SELECT owner, 0, count(*), min(claimed_at) FROM {task} WHERE owner IS NOT NULL AND "
    "claimed_at IS NOT NULL GROUP BY owner"
)


def _status_column(statuses: Sequence[Status]) -> str:
    """Where runs of these statuses have theirs."""
    sides = {status in OPEN for status in statuses}
    if len(sides) == 1:
        return "live.status" if sides == {True} else "outcome.status"
    return "coalesce(outcome.status, live.status)"


class SqlReader(SqlScheduleReader, SqlPruningReader, SqlOutlookReader):
    """Reads. A store inherits from this and says how a statement is carried out."""

    @abstractmethod
    def now(self) -> datetime: ...

    def find(self, namespace: str, key: str) -> RunView | None:
        d = self._tables.dialect
        one = "coalesce((SELECT run_id FROM {idem} WHERE namespace = ? AND key = ?), ?)"
        params = [namespace, key, d.maybe_id(parse_run_id(key)), namespace]
        views = self._views(self._select(f"WHERE run.id = {one} AND run.namespace = ?"), params)
        return views[0] if views else None

    def view(self, run_id: UUID) -> RunView | None:
        views = self._views(self._select("WHERE run.id = ?"), [self._tables.dialect.id_in(run_id)])
        return views[0] if views else None

    def runs(self, query: RunQuery) -> Sequence[RunView]:
        sides = [query.statuses]
        if Status.COMPLETED not in query.statuses:
            # Open runs are few, and so are those that went wrong: each are looked for where they are, then merged.
            split = [tuple(one for one in query.statuses if (one in OPEN) is side) for side in (True, False)]
            sides = [side for side in split if side] or sides
        pages = [self._page(query, side) for side in sides]
        params = [param for page in pages for param in page[1]]
        if len(pages) == 1:
            return self._views(pages[0][0], params)
        both = " UNION ALL ".join(f"SELECT * FROM ({page[0]}) AS side" for page in pages)
        return self._views(f"{both} ORDER BY 1 DESC LIMIT ?", [*params, query.limit])

    def _page(self, query: RunQuery, statuses: Sequence[Status]) -> tuple[str, list[Any]]:
        """The statement for one page of runs in these statuses, and its parameters."""
        d = self._tables.dialect
        where: list[str] = ["run.namespace = ?"]
        params: list[Any] = [query.namespace]
        if statuses:
            where.append(f"{_status_column(statuses)} IN ({marks(len(statuses))})")
            params += [status.value for status in statuses]
        if query.workflow is not None:
            where.append("run.workflow = ?")
            params.append(query.workflow)
        if query.version is not None:
            where.append("run.version = ?")
            params.append(query.version)
        if query.lane is not None:
            where.append("run.lane = ?")
            params.append(query.lane)
        for name, value in query.attributes.items():
            condition, given = self._has_attribute(name, value)
            where.append(condition)
            params += given
        if query.roots_only:
            where.append("run.parent_id IS NULL")
        if query.before is not None:
            where.append("run.id < ?")
            params.append(d.id_in(query.before))
        rest = f"WHERE {' AND '.join(where)} ORDER BY run.id DESC LIMIT ?"
        return self._select(rest, statuses), [*params, query.limit]

    def _has_attribute(self, name: str, value: str | float | bool) -> tuple[str, list[Any]]:  # noqa: FBT001 - a value
        """The condition that a run has an attribute of that value, and its parameters."""
        kinds: tuple[str, ...] = ("text",)
        if not isinstance(value, str):
            kinds = ("true", "false") if isinstance(value, bool) else ("integer", "real")
        kind = " OR ".join(f"type = '{kind}'" for kind in kinds)
        sql = f"EXISTS (SELECT 1 FROM json_each(run.attributes) WHERE key = ? AND atom = ? AND ({kind}))"
        return sql, [name, value]

    def keys(self, run_ids: Sequence[UUID]) -> dict[UUID, str]:
        d = self._tables.dialect
        sql = f"SELECT id, key FROM {{run}} WHERE id IN ({marks(len(run_ids))})"
        rows = self._rows(d.sql(sql), [*map(d.id_in, run_ids)]) if run_ids else ()
        return {d.id_out(run_id): key for run_id, key in rows}

    def children(self, run_id: UUID) -> Sequence[RunView]:
        rest = "WHERE run.parent_id = ? ORDER BY run.created_at, run.id"
        return self._views(self._select(rest), [self._tables.dialect.id_in(run_id)])

    def history(self, run_id: UUID, after: int = 0) -> Sequence[Recorded]:
        tables = self._tables
        sql = f"SELECT number, at, {EVENT_COLUMNS} FROM {{event}} WHERE run_id = ? AND number > ? ORDER BY number"
        rows = self._rows(tables.dialect.sql(sql), [tables.dialect.id_in(run_id), after])
        read, time_out = tables.encoding.read_event, tables.dialect.time_out
        return tuple(Recorded(number=row[0], at=time_out(row[1]), event=read(row[2:])) for row in rows)

    def published(self, run_id: UUID) -> Sequence[PublishedRow]:
        table = self._tables.published
        rows = self._of_run(f"SELECT {table.listed()} FROM {{published}}", "key", run_id)
        return [*map(table.row_out, rows)]

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        table = self._tables.task
        return [
            *map(table.row_out, self._of_run(f"SELECT {table.listed()} FROM {{task}}", "position", run_id))
        ]

    def timers(self, run_id: UUID) -> Sequence[TimerRow]:
        table = self._tables.timer
        rows = self._of_run(f"SELECT {table.listed()} FROM {{timer}}", "fire_at, position", run_id)
        return [*map(table.row_out, rows)]

    def _of_run(self, select: str, order: str, run_id: UUID) -> Sequence[Columns]:
        d = self._tables.dialect
        return self._rows(d.sql(f"{select} WHERE run_id = ? ORDER BY {order}"), [d.id_in(run_id)])

    def lane(self, namespace: str, lane: str) -> LaneRow | None:
        table = self._tables.lane
        rows = self._rows(table.select, [namespace, lane])
        return table.row_out(rows[0]) if rows else None

    def before(self, run_id: UUID) -> int | None:
        sql = (
            "SELECT 1 + (SELECT count(*) FROM {place} AS other WHERE other.namespace = own.namespace "
            "AND other.lane = own.lane AND other.number < own.number) FROM {place} AS own WHERE run_id = ?"
        )
        rows = self._rows(self._tables.dialect.sql(sql), [self._tables.dialect.id_in(run_id)])
        return rows[0][0] if rows else None

    def workers(self) -> Sequence[WorkerRow]:
        table = self._tables.worker
        sql = f"SELECT {table.listed()} FROM {{worker}} ORDER BY started_at, id"
        return [*map(table.row_out, self._rows(self._tables.dialect.sql(sql)))]

    def in_hand(self) -> dict[int, InHand]:
        d = self._tables.dialect
        rows = self._rows(d.sql(_IN_HAND))
        return InHand.by_worker(
            (owner, InHand(runs=runs, attempts=attempts, since=d.time_out(since)))
            for owner, runs, attempts, since in rows
        )

    def counts(self, namespace: str, *, ended: bool = True) -> dict[Status, int]:
        one = (
            "SELECT status, count(*) FROM {%s} JOIN {run} ON id = run_id WHERE namespace = ? GROUP BY status"
        )
        sql = " UNION ALL ".join(one % table for table in (("live", "outcome") if ended else ("live",)))
        rows = self._rows(self._tables.dialect.sql(sql), [namespace] * (1 + ended))
        return {Status(name): count for name, count in rows}

    def glance(self, wanted: Sequence[Known]) -> Sequence[Acquired]:
        _ = wanted
        return ()

    def cancel_asked(self, run_id: UUID, position: str) -> bool:
        d = self._tables.dialect
        sql = (
            "SELECT cancel_asked, (SELECT cancelled FROM {task} WHERE run_id = ? AND position = ?) "
            "FROM {live} WHERE run_id = ?"
        )
        rows = self._rows(d.sql(sql), [d.id_in(run_id), position, d.id_in(run_id)])
        return not rows or any(rows[0])

    def _select(self, rest: str, statuses: Sequence[Status] = ()) -> str:
        run, live, outcome = self._tables.run, self._tables.live, self._tables.outcome
        # A page of open runs, or of those that did not complete, must not cost a walk over all that ever ended.
        column = _status_column(statuses)
        to_live = "JOIN" if column == "live.status" else "LEFT JOIN"
        to_outcome = "JOIN" if column == "outcome.status" else "LEFT JOIN"
        if column == "outcome.status" and Status.COMPLETED not in statuses:
            rest = rest.replace("WHERE", "WHERE outcome.status <> 'completed' AND", 1)
        return (
            f"SELECT {run.listed('run')}, {live.listed('live')}, {outcome.listed('outcome')} FROM {{run}} AS run "
            f"{to_live} {{live}} AS live ON live.run_id = run.id "
            f"{to_outcome} {{outcome}} AS outcome ON outcome.run_id = run.id {rest}"
        )

    def _views(self, sql: str, params: Sequence[Any]) -> list[RunView]:
        tables = self._tables
        run, live, outcome = tables.run, tables.live, tables.outcome
        first, second = len(run.columns), len(run.columns) + len(live.columns)
        return [
            RunView(
                run=run.row_out(row[:first]),
                live=None if row[first] is None else live.row_out(row[first:second]),
                outcome=None if row[second] is None else outcome.row_out(row[second:]),
            )
            for row in self._rows(tables.dialect.sql(sql), params)
        ]
