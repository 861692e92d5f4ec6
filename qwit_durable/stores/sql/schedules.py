"""Schedules over SQL: their table, their rows within a transaction, and reading them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from qwit_durable.stores.plain import from_time, to_time
from qwit_durable.stores.schedules import Firing, ScheduleRow
from qwit_durable.stores.sql.dialect import Dialect, Statements
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.reading import SqlReading
from qwit_durable.stores.sql.table import Columns, Table

if TYPE_CHECKING:
    from qwit_durable.stores.sql.tables import Tables

__all__ = ["Schedules", "SqlScheduleReader", "SqlSchedules"]

_MICROSECOND = timedelta(microseconds=1)


def _span_in(span: timedelta | None) -> int | None:
    return None if span is None else span // _MICROSECOND


def _span_out(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else microseconds * _MICROSECOND


def _write_recent(firings: Sequence[Firing]) -> str:
    return json.dumps(
        [[from_time(one.due_at), from_time(one.at), one.kind, one.run, one.count] for one in firings]
    )


def _read_recent(text: str) -> tuple[Firing, ...]:
    return tuple(
        Firing(due_at=_moment(due_at), at=_moment(at), kind=kind, run=run, count=count)
        for due_at, at, kind, run, count in json.loads(text)
    )


def _moment(text: str) -> datetime:
    found = to_time(text)
    assert found is not None
    return found


class Schedules(Table[tuple[str, str], ScheduleRow]):
    """Schedules."""

    name = "schedule"
    columns = (
        *("namespace", "id", "workflow", "version", "queue", "args", "timetable", "overlap", "catch_up"),
        *("window_us", "lane", "deadline_us", "attributes", "created_at", "changed_at", "next_at", "paused"),
        *("note", "last_due_at", "last_run_id", "last_run", "started", "skipped", "missed", "recent"),
        "revision",
    )
    width = 2

    def key_of(self, row: ScheduleRow) -> tuple[str, str]:
        return row.namespace, row.id

    def key_in(self, key: tuple[str, str]) -> Columns:
        return key

    def row_in(self, row: ScheduleRow) -> Columns:
        d = self._dialect
        return (
            *(row.namespace, row.id, row.workflow, row.version, row.queue, self._encoding.seal(row.args)),
            *(row.timetable, row.overlap, row.catch_up, _span_in(row.window), row.lane),
            *(_span_in(row.deadline), json.dumps(row.attributes)),
            *(d.time_in(row.created_at), d.time_in(row.changed_at), d.maybe_time(row.next_at)),
            *(row.paused, row.note, d.maybe_time(row.last_due_at), d.maybe_id(row.last_run_id)),
            *(row.last_run, row.started, row.skipped, row.missed, _write_recent(row.recent), row.revision),
        )

    def row_out(self, columns: Columns) -> ScheduleRow:
        d = self._dialect
        found = dict(zip(self.columns, columns, strict=True))
        return ScheduleRow(
            namespace=found["namespace"],
            id=found["id"],
            workflow=found["workflow"],
            version=found["version"],
            queue=found["queue"],
            args=self._encoding.open(found["args"]),
            timetable=found["timetable"],
            overlap=found["overlap"],
            catch_up=found["catch_up"],
            window=_span_out(found["window_us"]),
            lane=found["lane"],
            deadline=_span_out(found["deadline_us"]),
            attributes=json.loads(found["attributes"]),
            created_at=d.time_out(found["created_at"]),
            changed_at=d.time_out(found["changed_at"]),
            next_at=d.maybe_time_out(found["next_at"]),
            paused=bool(found["paused"]),
            note=found["note"],
            last_due_at=d.maybe_time_out(found["last_due_at"]),
            last_run_id=d.maybe_id_out(found["last_run_id"]),
            last_run=found["last_run"],
            started=found["started"],
            skipped=found["skipped"],
            missed=found["missed"],
            recent=_read_recent(found["recent"]),
            revision=found["revision"],
        )


class SqlSchedules:
    """`stores.schedules.ScheduleSession`: a session inherits from this."""

    _tables: Tables
    _dialect: Dialect
    _statements: Statements
    _schedules: Mapped[tuple[str, str], ScheduleRow]
    now: Any
    flush: Callable[[], None]

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        return self._schedules.get((namespace, schedule_id))

    def put_schedule(self, row: ScheduleRow) -> None:
        self._schedules.put(row)

    def drop_schedule(self, namespace: str, schedule_id: str) -> None:
        self._schedules.drop((namespace, schedule_id))

    def due_schedules(self, limit: int) -> Sequence[ScheduleRow]:
        self.flush()
        table = self._tables.schedule
        sql = f"SELECT {table.listed()} FROM {{schedule}} WHERE next_at <= ? ORDER BY next_at, namespace, id LIMIT ?"
        rows = self._statements.rows(self._dialect.sql(sql), [self._dialect.time_in(self.now), limit])
        # Not taken down as read: nothing is locked, so whoever changes one looks again.
        return [table.row_out(row) for row in rows]

    def is_open(self, run_id: UUID) -> bool:
        self.flush()
        sql = self._dialect.sql("SELECT 1 FROM {live} WHERE run_id = ?")
        return bool(self._statements.rows(sql, [self._dialect.id_in(run_id)]))


class SqlScheduleReader(SqlReading):
    """`stores.schedules.ScheduleReader`: a reader inherits from this."""

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        table = self._tables.schedule
        rows = self._rows(table.select, [namespace, schedule_id])
        return table.row_out(rows[0]) if rows else None

    def schedules(self, namespace: str) -> Sequence[ScheduleRow]:
        table = self._tables.schedule
        sql = f"SELECT {table.listed()} FROM {{schedule}} WHERE namespace = ? ORDER BY id"
        return [table.row_out(row) for row in self._rows(self._tables.dialect.sql(sql), [namespace])]
